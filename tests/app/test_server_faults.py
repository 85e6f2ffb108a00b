"""What clients get when the disk, the system or a decoding process fails; and what keys, caches and other origins may do."""

import errno
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import SpooledTemporaryFile

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.api_keys import add_key
from app.inference import decoding_pool
from app.main import create_app
from app.settings import Settings
from models.loading import load_ensemble
from tests.app.helpers import post_job, post_picture
from tests.server_process import Server, serving, wait_until

UPLOADS = {
    "/v1/colorize": "file",
    "/v1/route": "file",
    "/v1/colorize/variants": "file",
    "/v1/colorize/batch": "files",
    "/v1/jobs": "files",
}
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The secrets of two keys, and the file that has them."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return {"press": add_key(path, "press", 1000), "admin": add_key(path, "admin", 1000, admin=True), "file": str(path)}


@pytest.fixture(scope="module")
def client(secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with keys, jobs and another origin, and a client with a key."""
    settings = Settings(
        keys=Path(secrets["file"]), data_dir=tmp_path_factory.mktemp("data"), cors_origins=("https://album.example",)
    )
    with TestClient(create_app(settings), headers={"authorization": f"Bearer {secrets['press']}"}) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def spool_raises(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let every upload that is too large for memory fail with this error."""

    def raise_error(self: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", raise_error)


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize(
    ("number", "status", "name", "line"),
    [
        (errno.ENOSPC, 507, "insufficient-storage", "the disk is full"),
        (errno.EMFILE, 503, "overloaded", "there are no more file descriptors"),
        (errno.EIO, 500, "internal-error", "internal error"),
    ],
)
def test_upload_that_cannot_be_stored(
    client: TestClient, path: str, number: int, status: int, name: str, line: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    spool_raises(monkeypatch, number)
    response = client.post(path, files={UPLOADS[path]: bytes(300_000)})
    assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{name}")
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    assert os.strerror(number) not in response.text
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert line in record.getMessage()


def test_too_complex_picture_is_refused_and_the_next_one_is_not_affected(client: TestClient, cat: bytes) -> None:
    before = post_picture(client, cat)
    file = io.BytesIO()
    Image.open(io.BytesIO(cat)).save(file, "JPEG", progressive=True)
    scan = b"\xff\xda\0\x08" + bytes((1, 1, 0, 1, 63, 0x10)) + bytes(75)
    complex = file.getvalue().removesuffix(b"\xff\xd9") + 10_000 * scan + b"\xff\xd9"
    for path in UPLOADS:
        if not path.startswith("/v1/jobs"):
            response = client.post(path, files={UPLOADS[path]: complex})
            if path.endswith("batch"):
                assert b"urn:chromaroute:problem:too-complex" in response.content
            else:
                assert (response.status_code, response.json()["type"]) == (422, "urn:chromaroute:problem:too-complex")
    after = post_picture(client, cat)
    assert (before.status_code, after.status_code) == (200, 200)
    assert after.content == before.content


def decoding_processes(client: TestClient) -> list[int]:
    pool = client.app.state.engine._decoding  # type: ignore[attr-defined]
    return [process._process.pid for process in pool._processes if process._process is not None]


def signal_all(processes: list[int], number: int) -> None:
    for pid in processes:
        os.kill(pid, number)


@needs_signals
def test_picture_whose_decoding_process_the_system_kills_is_422_and_the_next_one_works(
    client: TestClient, cat: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    post_picture(client, cat)
    processes = decoding_processes(client)
    signal_all(processes, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(post_picture, client, cat)
        wait_until(lambda: bool(client.app.state.engine._decoding._started))  # type: ignore[attr-defined]
        signal_all(processes, signal.SIGKILL)
        assert (response.result().status_code, response.result().json()["type"]) == (422, "urn:chromaroute:problem:too-complex")
    assert "a decoding process ended with the code -9" in caplog.text
    assert post_picture(client, cat).status_code == 200


@pytest.mark.slow
@pytest.mark.timing
@needs_signals
def test_readyz_is_503_while_all_decoding_processes_hang(client: TestClient, cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = client.app.state.engine  # type: ignore[attr-defined]
    client.portal.call(engine._decoding.warm_up)  # type: ignore[union-attr]
    monkeypatch.setattr(decoding_pool, "STALLED", 0.3)
    time.sleep(0.4)  # without a picture, which is no reason
    assert client.get("/readyz").json() == {"status": "ready"}
    processes = decoding_processes(client)
    count = engine.slots + 2
    with ThreadPoolExecutor(count) as pool:
        signal_all(processes, signal.SIGSTOP)
        try:
            waiting = [pool.submit(post_picture, client, cat) for _ in range(count)]
            wait_until(lambda: client.get("/readyz").status_code == 503, 10)
            assert client.get("/readyz").json() == {"status": "stalled"}
        finally:
            signal_all(processes, signal.SIGCONT)
        assert {future.result().status_code for future in waiting} == {200}
    assert client.get("/readyz").json() == {"status": "ready"}


def decoding_processes_of(server: Server) -> list[int]:
    """The decoding processes, which threads of a server have started."""
    found = [path.read_text().split() for path in Path(f"/proc/{server.process.pid}/task").glob("*/children")]
    return [int(name) for names in found for name in names]


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timing
@needs_signals
def test_sigterm_ends_the_server_while_decoding_hangs(cat: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, jobs=0) as server, ThreadPoolExecutor(1) as pool:
        signal_all(decoding_processes_of(server), signal.SIGSTOP)
        response = pool.submit(httpx2.post, f"{server.address}/v1/colorize", files={"file": cat}, timeout=60)
        wait_until(lambda: "chromaroute_requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert (response.result().status_code, response.result().json()["type"]) == (503, "urn:chromaroute:problem:overloaded")
        assert response.result().headers["retry-after"] == "1"
        assert server.process.wait(12) in (0, -signal.SIGTERM)
        assert time.monotonic() - start < 12


@pytest.mark.server
@pytest.mark.slow
@needs_signals
def test_decoding_processes_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, jobs=0) as server:
        processes = decoding_processes_of(server)
        assert processes
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 10)


@pytest.mark.slow
def test_only_an_administrator_reloads_the_bundle(client: TestClient, secrets: dict[str, str]) -> None:
    refused = client.post("/v1/bundle/reload")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:chromaroute:problem:forbidden")
    assert client.post("/v1/bundle/reload", headers={"authorization": ""}).status_code == 401
    done = client.post("/v1/bundle/reload", headers={"authorization": f"Bearer {secrets['admin']}"})
    assert done.status_code == 200
    assert done.json()["bundle"] == client.get("/v1/bundle").json()["bundle"]


@pytest.mark.slow
def test_reloads_at_the_same_time_load_the_bundle_once(
    client: TestClient, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []

    def load(folder: Path) -> object:
        loads.append(folder)
        time.sleep(1)
        return load_ensemble(folder)

    monkeypatch.setattr(client.app.state.engine, "_load", load)  # type: ignore[attr-defined]
    headers = {"authorization": f"Bearer {secrets['admin']}"}
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: client.post("/v1/bundle/reload", headers=headers), range(20)))
    assert [response.status_code for response in responses] == [200] * 20
    assert len(loads) == 1
    assert client.post("/v1/bundle/reload", headers=headers).status_code == 200
    assert len(loads) == 2  # the next one loads it again


def test_options_and_preflight_need_no_key(client: TestClient) -> None:
    response = client.options("/v1/colorize", headers={"authorization": ""})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    headers = {"authorization": "", "origin": "https://album.example", "access-control-request-method": "POST"}
    for path in ("/v1/colorize", "/v1/jobs", "/v1/bundle/reload"):
        preflight = client.options(path, headers=headers)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "https://album.example")
    assert client.options("/v1/jobs", headers={**headers, "origin": "https://other.example"}).status_code == 400


def test_results_are_not_cached_and_files_of_the_page_are_revalidated(client: TestClient, cat: bytes) -> None:
    location = post_job(client, {"cat.jpg": cat}).headers["location"]
    wait_until(lambda: client.get(location).json()["state"] == "finished")
    responses = [client.post(path, files={UPLOADS[path]: cat}) for path in UPLOADS]
    paths = ("/v1/categories", "/v1/bundle", location, f"{location}/events", f"{location}/result", f"{location}/result/0")
    responses += [client.get(path) for path in paths]
    assert {response.status_code for response in responses} == {200, 202}
    responses += [
        client.get(f"{location}/result", headers={"range": "bytes=0-9"}),
        client.get("/v1/jobs/none"),
        client.get("/v1/colorize"),
        client.get("/v1/bundle", headers={"authorization": ""}),
        client.post("/v1/colorize", files={"file": b"none"}),
        client.delete(location),
    ]
    for response in responses:
        assert response.headers["cache-control"] == "private, no-store", response.url
    for path in ("/", "/web/page.js", "/web/style.css", "/swagger/swagger-ui.css"):
        assert client.get(path).headers["cache-control"] == "no-cache"
        etag = client.get(path).headers["etag"]
        assert client.get(path, headers={"if-none-match": etag}).status_code in (200, 304)
