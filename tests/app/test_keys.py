import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.api_keys import ApiKeyStore, add_key, read_keys, revoke_key
from app.main import create_app
from app.settings import Settings, SettingsError, check_exposure, load_settings
from models.errors import OptionError

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, {name: add_key(path, name, rate) for name, rate in (("press", 1000), ("slow", 2), ("gone", 5))}


@pytest.fixture(scope="module")
def guarded(keys: tuple[Path, dict[str, str]]) -> TestClient:
    return TestClient(create_app(Settings(keys=keys[0], jobs=False)))


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_keys_are_shown_once_and_stored_as_hashes(keys: tuple[Path, dict[str, str]]) -> None:
    path, secrets = keys
    text = path.read_text()
    assert all(secret.startswith("cr_") and len(secret) > 40 and secret not in text for secret in secrets.values())
    assert [key["name"] for key in json.loads(text)] == ["press", "slow", "gone"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_shows_pictures_needs_a_key_and_health_and_page_do_not(
    guarded: TestClient, keys: tuple[Path, dict[str, str]], photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    for path in ("/v1/categories", "/v1/bundle", "/metrics", "/v1/jobs/x"):
        for headers in (
            {},
            bearer("wrong"),
            {"authorization": f"Basic {keys[1]['press']}"},
            {"authorization": "Bearer clé".encode()},
        ):
            answer = guarded.get(path, headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:chromaroute:problem:unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert ("is not known" in answer.json()["detail"]) == str(headers.get("authorization", "")).startswith(
                ("Bearer", "b'Bearer")
            )
        assert guarded.get(path, headers=bearer(keys[1]["press"])).status_code != 401
    for path in ("/", "/livez", "/docs", "/openapi.json", "/web/page.js"):
        assert guarded.get(path).status_code == 200
    files = {"file": encoded(photographs["cat"])}
    assert guarded.post("/v1/colorize", files=files).status_code == 401
    assert guarded.post("/v1/colorize", files=files, headers=bearer(keys[1]["press"])).status_code == 200


def test_every_key_has_its_own_rate(
    guarded: TestClient, keys: tuple[Path, dict[str, str]], photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    files = {"file": encoded(photographs["cat"])}
    codes = [guarded.post("/v1/route", files=files, headers=bearer(keys[1]["slow"])).status_code for _ in range(2)]
    assert codes == [200, 200]
    refused = guarded.post("/v1/route", files=files, headers=bearer(keys[1]["slow"]))
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:chromaroute:problem:too-many-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert guarded.get("/v1/categories", headers=bearer(keys[1]["slow"])).status_code == 200  # only pictures count
    assert guarded.post("/v1/route", files=files, headers=bearer(keys[1]["press"])).status_code == 200


def test_every_key_is_compared_in_constant_time(keys: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[str] = []
    compare = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append(one) or compare(one, other))
    gate = ApiKeyStore(read_keys(keys[0]))
    assert gate.authenticate(keys[1]["press"]) == "press"
    assert gate.authenticate("nobody's") is None
    assert len(compared) == 6


def test_names_are_unique_and_keys_can_be_revoked(keys: tuple[Path, dict[str, str]]) -> None:
    path = keys[0]
    with pytest.raises(OptionError, match="a name that no other key has"):
        add_key(path, "press", 5)
    for name, rate in (("two words", 5), ("fine", 0)):
        with pytest.raises(OptionError, match="letters, digits"):
            add_key(path, name, rate)
    revoke_key(path, "gone")
    assert [key.name for key in read_keys(path)] == ["press", "slow"]
    with pytest.raises(OptionError, match="press, slow"):
        revoke_key(path, "gone")


@pytest.mark.parametrize("content", [None, b"", b"{}", b'[{"name": "x"}]'])
def test_a_file_without_keys_ends_the_start(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(SettingsError, match="chromaroute key add"):
        create_app(Settings(keys=tmp_path / "keys.json", jobs=False))


def test_a_network_needs_keys_or_a_decision(monkeypatch: pytest.MonkeyPatch, keys: tuple[Path, dict[str, str]]) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        check_exposure(Settings(), host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.evil"):
        with pytest.raises(SettingsError, match=r"(?s)chromaroute key add.*CHROMAROUTE_ALLOW_ANONYMOUS=1"):
            check_exposure(Settings(), host)
        check_exposure(Settings(keys=keys[0]), host)
    monkeypatch.setenv("CHROMAROUTE_ALLOW_ANONYMOUS", "1")
    check_exposure(load_settings(), "0.0.0.0")
