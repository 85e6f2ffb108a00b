"""Webhooks of jobs: when they are delivered and again, to whom, and their signature after the Standard Webhooks specification."""

import errno
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs import folder, webhook_tasks, webhooks
from app.jobs.webhooks import Delivery, check_webhook, deliver, sign
from app.schemas import JobStatus
from app.settings import Settings
from models.errors import OptionError
from tests.app.helpers import wait_for_end
from tests.app.webhook_receiver import PICTURE, SECRET, Receiver, folder_of, post_with_webhook, service_with_webhooks, webhook_state
from tests.server_process import wait_until

STATUS = JobStatus(id="0" * 32, state="finished", total=1, done=1, failed=0, created=datetime.now(UTC))
DELAYS = webhooks.DELAYS


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    """A running receiver."""
    with Receiver().serving() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    """The receiver without the requests of earlier tests."""
    server.reset()
    return server


@pytest.fixture(scope="module")
def client(server: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that makes three attempts in quick succession."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "DELAYS", (0, 0, 0))
        patch.setattr("app.jobs.maintenance_thread.PERIOD", 0.05)
        with service_with_webhooks(tmp_path_factory.mktemp("webhooks"), server) as client:
            yield client


@pytest.mark.slow
def test_webhook_of_finished_job_is_signed_and_delivered_once(client: TestClient, receiver: Receiver) -> None:
    response = post_with_webhook(client, f"{receiver.origin}/hook?token=7", pictures=2)
    assert (response.status_code, response.json()["webhook"]) == (202, "pending")
    path = response.headers["location"]
    wait_until(lambda: webhook_state(client, path) == "delivered")
    (call,) = receiver.calls
    event = call.check_signature()
    assert call.path == "/hook?token=7"
    assert call.headers["content-type"] == "application/json"
    assert event["type"] == "job.ended"
    assert abs(datetime.fromisoformat(event["timestamp"]).timestamp() - time.time()) < 60
    assert event["data"] == client.get(path).json() | {"webhook": "pending"}
    assert (event["data"]["state"], event["data"]["done"]) == ("finished", 2)
    time.sleep(0.5)
    assert len(receiver.calls) == 1


@pytest.mark.slow
def test_webhook_of_cancelled_job_is_delivered(client: TestClient, receiver: Receiver) -> None:
    path = post_with_webhook(client, f"{receiver.origin}/cancelled", pictures=200).headers["location"]
    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    wait_until(lambda: webhook_state(client, path) == "delivered")
    (call,) = receiver.calls_to("/cancelled")
    assert call.check_signature()["data"]["state"] == "cancelled"


@pytest.mark.slow
def test_failed_delivery_is_repeated_with_the_same_id(client: TestClient, receiver: Receiver) -> None:
    receiver.statuses = [500, 302]
    path = post_with_webhook(client, f"{receiver.origin}/again").headers["location"]
    wait_until(lambda: webhook_state(client, path) == "delivered")
    calls = receiver.calls_to("/again")
    assert len(calls) == 3
    assert len({call.headers["webhook-id"] for call in calls}) == 1
    for call in calls:
        call.check_signature()
    assert receiver.calls_to("/redirected") == []


@pytest.mark.slow
def test_delivery_ends_after_the_last_attempt(client: TestClient, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.statuses = [500, 404, 400]
    path = post_with_webhook(client, f"{receiver.origin}/never").headers["location"]
    wait_for_end(client, path)
    expires = client.get(path).json()["expires"]
    wait_until(lambda: webhook_state(client, path) == "failed")
    time.sleep(0.5)
    assert len(receiver.calls_to("/never")) == 3
    assert client.get(path).json()["expires"] == expires  # attempts do not prolong it
    assert "attempt 3 to deliver the webhook" in caplog.text
    assert "answered with the status 400" in caplog.text


@pytest.mark.slow
def test_outcome_that_cannot_be_stored_is_stored_later(
    client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file, failures = folder.replace_file, [OSError(errno.ENOSPC, "No space left on device") for _ in range(2)]

    def fail_at_first(path: Path, *arguments: object, **options: object) -> None:
        if path.name == "webhook.json" and failures:
            raise failures.pop()
        replace_file(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "replace_file", fail_at_first)
    monkeypatch.setattr(webhook_tasks, "RETRY_DELAY", 0.05)
    path = post_with_webhook(client, f"{receiver.origin}/stored").headers["location"]
    wait_until(lambda: webhook_state(client, path) == "delivered")
    assert not failures
    assert len(receiver.calls_to("/stored")) == 1


@pytest.mark.slow
def test_deleted_job_has_no_more_deliveries(client: TestClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELAYS", (0, 1.5, 0))
    receiver.statuses = [500]
    path = post_with_webhook(client, f"{receiver.origin}/deleted").headers["location"]
    wait_until(lambda: len(receiver.calls) == 1)
    assert client.delete(path).status_code == 204
    time.sleep(3)
    assert len(receiver.calls) == 1


@pytest.mark.slow
def test_idempotency_key_belongs_to_the_webhook(client: TestClient, receiver: Receiver) -> None:
    first = post_with_webhook(client, f"{receiver.origin}/one", **{"idempotency-key": "one"})
    assert post_with_webhook(client, f"{receiver.origin}/one", **{"idempotency-key": "one"}).json()["id"] == first.json()["id"]
    other = post_with_webhook(client, f"{receiver.origin}/two", **{"idempotency-key": "one"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:chromaroute:problem:idempotency-key-reused")
    wait_until(lambda: webhook_state(client, first.headers["location"]) == "delivered")


def test_job_without_webhook_has_no_state_of_one(client: TestClient) -> None:
    response = client.post("/v1/jobs", files={"files": ("a.png", PICTURE)})
    assert response.json()["webhook"] is None
    assert not (folder_of(client, response.headers["location"]).folder / "webhook.json").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/hook", "http://127.0.0.1/hook", "https://127.0.0.1:{port}/hook", "http://127.0.0.1:{port}.evil.example/",
        "http://127.0.0.1:{port}@evil.example/", "http://user:word@127.0.0.1:{port}/", "http://@127.0.0.1:{port}/",
        "http://localhost:{port}/", "ftp://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}", "hook", "",
        "http://[abc", "http://127.0.0.1:{port}x/", "http://127.0.0.1:{port}/\x01", "http://127.0.0.1:99999/", "http://ａ.example/",
        "http://127.0.0.1:{port}\\@evil.example/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_other_origin_is_rejected_with_the_allowed_ones(client: TestClient, server: Receiver, url: str) -> None:
    for how in ("data", "params"):
        sent = {"webhook": url.format(port=server.port)}
        response = client.post("/v1/jobs", files={"files": ("a.png", PICTURE)}, **{how: sent})  # type: ignore[arg-type]
        assert (response.status_code, response.json()["option"]) == (422, "webhook")
        assert response.json()["valid"] == f"an address in {server.origin}, the origins that this server allows"


def test_webhook_is_rejected_if_the_server_allows_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="CHROMAROUTE_WEBHOOK_ORIGINS is not set"):
        check_webhook("https://album.example/", Settings(data_dir=tmp_path))


def test_origins_ignore_case_and_include_ports_and_ipv6(tmp_path: Path) -> None:
    origins = "https://Album.example, http://[::1]:8080"
    settings = Settings(data_dir=tmp_path, webhook_origins=origins, webhook_secret=SECRET)  # type: ignore[arg-type]
    for allowed in ("https://album.example/x", "https://ALBUM.example", "HTTPS://album.example?x#y", "http://[::1]:8080/x"):
        check_webhook(allowed, settings)
    for refused in ("https://album.example:8443/", "http://album.example/", "http://[::1]/", "https://album.example.evil/"):
        with pytest.raises(OptionError):
            check_webhook(refused, settings)


def test_signature_is_that_of_the_example_of_the_specification() -> None:
    now = datetime.fromtimestamp(1614265330, UTC)
    headers = sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', now)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_delays_of_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELAYS", DELAYS)
    now, delivery = datetime.now(UTC), Delivery()
    waited = []
    while delivery.outcome == "pending":
        delivery = delivery.after("it failed", now)
        waited += [(delivery.due - now).total_seconds()] if delivery.due else []
    assert waited == [5, 300, 1_800, 7_200, 18_000, 36_000]
    assert delivery == Delivery(7, None, "failed")
    assert Delivery(3).after("", now) == Delivery(4, None, "delivered")


def settings_for(origin: str, private: bool) -> Settings:
    return Settings(jobs=False, webhook_origins=(origin,), webhook_secret=SECRET, webhook_private=private)


def try_delivery(url: str, private: bool = False, origin: str = "") -> str:
    """Why one delivery failed."""
    settings = settings_for(origin or url.removesuffix("/hook"), private)
    return deliver(url, "job-1", STATUS, settings, datetime.now(UTC))


def test_private_address_is_refused(receiver: Receiver) -> None:
    reason = try_delivery(f"{receiver.origin}/hook")
    assert reason == "127.0.0.1 is at 127.0.0.1, a private address, which CHROMAROUTE_WEBHOOK_PRIVATE=1 would allow"
    assert receiver.calls == []
    assert try_delivery(f"{receiver.origin}/hook", private=True) == ""
    assert len(receiver.calls) == 1


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that lets album.example resolve to addresses, and returns the names that are resolved from then on."""
    getaddrinfo = socket.getaddrinfo

    def use(*addresses: str) -> list[str]:
        resolved: list[str] = []

        def resolve(host: str, port: object, *arguments: Any, **options: Any) -> Any:
            resolved.append(host)
            if host != "album.example":
                return getaddrinfo(host, port, *arguments, **options)  # type: ignore[arg-type]
            return [entry for address in addresses for entry in getaddrinfo(address, port, type=socket.SOCK_STREAM)]  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return resolved

    return use


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "::ffff:10.1.2.3"],
)  # fmt: skip
def test_name_of_a_private_address_is_refused(
    address: str, resolve: Callable[..., list[str]], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("httpx.Client.send", lambda *_, **__: pytest.fail("it was called"))
    for addresses in ((address,), ("93.184.215.14", address), (address, "93.184.215.14")):
        resolve(*addresses)
        reason = try_delivery(f"http://album.example:{receiver.port}/hook")
        assert "is at" in reason
        assert "a private address" in reason


def test_address_that_was_checked_is_called(resolve: Callable[..., list[str]], receiver: Receiver) -> None:
    resolved = resolve("127.0.0.1")
    assert try_delivery(f"http://album.example:{receiver.port}/hook", private=True) == ""
    assert resolved.count("album.example") == 1  # a second answer of the name server could be another address
    assert receiver.calls[0].headers["host"] == f"album.example:{receiver.port}"


def test_redirect_is_a_failure(receiver: Receiver) -> None:
    for status in (301, 302, 303, 307, 308):
        receiver.statuses = [status]
        assert try_delivery(f"{receiver.origin}/hook", private=True) == f"it was answered with the status {status}"
    assert receiver.calls_to("/redirected") == []


@pytest.mark.parametrize("name", ["album.example", "other.example"])
def test_certificate_is_that_of_the_name(
    name: str, resolve: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("openssl is not installed: certificates are not tested")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    resolve("127.0.0.1")
    with Receiver().serving(tls) as receiver:
        url = f"https://album.example:{receiver.port}/hook"
        assert "certificate" in try_delivery(url, private=True)  # nobody known has signed it
        monkeypatch.setattr("certifi.where", lambda: str(certificate))
        reason = try_delivery(url, private=True)
        assert (reason == "") == (name == "album.example"), reason
        assert len(receiver.calls) == (name == "album.example")


def test_network_failures_have_a_reason(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = try_delivery(f"http://127.0.0.1:{unused.getsockname()[1]}/hook", private=True)
        assert "refused" in refused
    assert try_delivery("http://nowhere.invalid/hook") != ""
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.1)
    receiver.delay = 0.5
    assert "timed out" in try_delivery(f"{receiver.origin}/hook", private=True)


def test_origin_that_is_no_longer_allowed_is_not_called(receiver: Receiver) -> None:
    assert "webhook is" in try_delivery(f"{receiver.origin}/hook", private=True, origin="https://album.example")
    assert receiver.calls == []
