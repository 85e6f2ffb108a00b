import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.api_keys import ApiKeyStore, add_key, read_keys, revoke_key
from app.main import create_app
from app.rate_limit import RateLimit
from app.settings import Settings, SettingsError, check_exposure, load_settings
from models.errors import OptionError

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, {name: add_key(path, name, rate) for name, rate in (("press", 1000), ("slow", 2), ("gone", 5))}


@pytest.fixture(scope="module")
def protected_client(keys: tuple[Path, dict[str, str]]) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(keys=keys[0], jobs=False))) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_keys_are_stored_as_hashes(keys: tuple[Path, dict[str, str]]) -> None:
    path, secrets = keys
    text = path.read_text()
    assert all(secret.startswith("cr_") and len(secret) > 40 and secret not in text for secret in secrets.values())
    assert [key["name"] for key in json.loads(text)] == ["press", "slow", "gone"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_api_requires_key_but_health_and_page_do_not(
    protected_client: TestClient, keys: tuple[Path, dict[str, str]], photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    for path in ("/v1/categories", "/v1/bundle", "/metrics", "/v1/jobs/x"):
        for headers in (
            {},
            bearer("wrong"),
            {"authorization": f"Basic {keys[1]['press']}"},
            {"authorization": "Bearer clé".encode()},
        ):
            response = protected_client.get(path, headers=headers)
            assert (response.status_code, response.json()["type"]) == (401, "urn:chromaroute:problem:unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
            assert ("is not known" in response.json()["detail"]) == str(headers.get("authorization", "")).startswith(
                ("Bearer", "b'Bearer")
            )
        assert protected_client.get(path, headers=bearer(keys[1]["press"])).status_code != 401
    for path in ("/", "/livez", "/docs", "/openapi.json", "/web/page.js"):
        assert protected_client.get(path).status_code == 200
    files = {"file": encoded(photographs["cat"])}
    assert protected_client.post("/v1/colorize", files=files).status_code == 401
    assert protected_client.post("/v1/colorize", files=files, headers=bearer(keys[1]["press"])).status_code == 200


def test_rate_limit_is_per_key(
    protected_client: TestClient, keys: tuple[Path, dict[str, str]], photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    files = {"file": encoded(photographs["cat"])}
    codes = [protected_client.post("/v1/route", files=files, headers=bearer(keys[1]["slow"])).status_code for _ in range(2)]
    assert codes == [200, 200]
    refused = protected_client.post("/v1/route", files=files, headers=bearer(keys[1]["slow"]))
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:chromaroute:problem:too-many-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    # only requests with pictures count
    assert protected_client.get("/v1/categories", headers=bearer(keys[1]["slow"])).status_code == 200
    assert protected_client.post("/v1/route", files=files, headers=bearer(keys[1]["press"])).status_code == 200


def test_all_keys_are_compared_in_constant_time(keys: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[str] = []
    compare = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append(one) or compare(one, other))
    store = ApiKeyStore(read_keys(keys[0]))
    found = store.authenticate(keys[1]["press"])
    assert found is not None
    assert found.name == "press"
    assert store.authenticate("nobody's") is None
    assert len(compared) == 6


def test_key_names_are_unique_and_keys_can_be_revoked(keys: tuple[Path, dict[str, str]]) -> None:
    path = keys[0]
    with pytest.raises(OptionError, match="a name that no other key has"):
        add_key(path, "press", 5)
    for name, rate, valid in (("two words", 5, "letters, digits"), ("fine", 0, "a rate above 0")):
        with pytest.raises(OptionError, match=valid):
            add_key(path, name, rate)
    revoke_key(path, "gone")
    assert [key.name for key in read_keys(path)] == ["press", "slow"]
    with pytest.raises(OptionError, match="press, slow"):
        revoke_key(path, "gone")


@pytest.mark.parametrize("content", [None, b"", b"{}", b'[{"name": "x"}]'])
def test_invalid_key_file_stops_startup(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(SettingsError, match="chromaroute key add"):
        create_app(Settings(keys=tmp_path / "keys.json", jobs=False))


def test_public_host_requires_keys_or_allow_anonymous(monkeypatch: pytest.MonkeyPatch, keys: tuple[Path, dict[str, str]]) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        check_exposure(Settings(), host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.evil"):
        with pytest.raises(SettingsError, match=r"(?s)chromaroute key add.*CHROMAROUTE_ALLOW_ANONYMOUS=1"):
            check_exposure(Settings(), host)
        check_exposure(Settings(keys=keys[0]), host)
    monkeypatch.setenv("CHROMAROUTE_ALLOW_ANONYMOUS", "1")
    check_exposure(load_settings(), "0.0.0.0")


def test_rate_is_that_of_the_last_minute_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, now = RateLimit(), 1000.0
    monkeypatch.setattr("app.rate_limit.time.monotonic", lambda: now)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert [rate.seconds_to_wait("press", 2) for _ in range(3)] == [0, 0, 60]
    assert rate.seconds_to_wait("archive", 2) == 0
    now += 59
    assert rate.seconds_to_wait("press", 2) == 1
    now += 1
    assert rate.seconds_to_wait("press", 2) == 0
