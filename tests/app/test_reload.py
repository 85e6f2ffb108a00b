import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.api_keys import add_key, revoke_key
from app.main import create_app
from app.settings import Settings
from models.bundle_header import EVERYDAY
from models.ensemble import Ensemble
from models.manifest import MANIFEST
from tests.server_process import serving, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EVERYDAY, tmp_path / "bundle"))


def rename(folder: Path, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["name"] = name
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.slow
def test_reload_swaps_bundle_during_requests_and_rejects_invalid_bundle(
    folder: Path, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(Settings(bundle=folder, jobs=False))) as client, ThreadPoolExecutor(4) as pool:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        running = [pool.submit(client.post, "/v1/colorize", files={"file": cat}) for _ in range(40)]
        rename(folder, "newer")
        response = client.post("/v1/bundle/reload")
        assert response.json()["bundle"].startswith("newer@")
        responses = [future.result() for future in running]
        assert {each.status_code for each in responses} == {200}
        assert client.post("/v1/colorize", files={"file": cat}).headers["x-chromaroute-bundle"].startswith("newer@")
        assert 'bundle="newer@' in client.get("/metrics").text
        assert 'bundle="everyday@' not in client.get("/metrics").text

        with monkeypatch.context() as patch:
            patch.setattr(Ensemble, "predict", lambda *_: 1 / 0)
            refused = client.post("/v1/bundle/reload")
            assert (refused.status_code, refused.json()["type"]) == (409, "urn:chromaroute:problem:bad-bundle")
            assert "cannot run" in refused.json()["detail"]
        (folder / "general.safetensors").write_bytes(b"cut off")
        refused = client.post("/v1/bundle/reload")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:chromaroute:problem:bad-bundle")
        assert "general.safetensors" in refused.json()["detail"]
        assert client.get("/v1/bundle").json()["bundle"].startswith("newer@")
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200


@pytest.mark.server
@pytest.mark.slow
def test_sighup_reloads_bundle_and_keys(folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    old, new = add_key(keys, "old", 60), add_key(keys, "new", 60)
    with serving(tmp_path, bundle=folder, keys=keys) as server:

        def get_bundle(secret: str) -> httpx2.Response:
            return httpx2.get(f"{server.address}/v1/bundle", headers={"authorization": f"Bearer {secret}"})

        assert get_bundle(old).status_code == 200
        revoke_key(keys, "old")
        rename(folder, "newer")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: get_bundle(new).json()["bundle"].startswith("newer@"))
        assert get_bundle(old).status_code == 401
        (folder / MANIFEST).write_text("{}")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "not reloaded" in server.log.read_text())
        assert get_bundle(new).json()["bundle"].startswith("newer@")


@pytest.mark.slow
def test_reload_follows_changed_symlink(folder: Path, tmp_path: Path, cat: bytes) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    rename(other, "other")
    link = tmp_path / "current"
    link.symlink_to(folder)
    with TestClient(create_app(Settings(bundle=link, jobs=False, expert_bytes=1))) as client:
        link.unlink()
        link.symlink_to(other)
        assert client.post("/v1/colorize?category=bird", files={"file": cat}).status_code == 200  # still from the old folder
        assert client.post("/v1/bundle/reload").json()["bundle"].startswith("other@")


@pytest.mark.slow
def test_evicted_expert_changed_on_disk_is_503(folder: Path, cat: bytes) -> None:
    settings = Settings(bundle=folder, jobs=False, expert_bytes=1, engine="torch")
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/colorize?category=bird", files={"file": cat}).status_code == 200
        assert client.post("/v1/colorize?category=house", files={"file": cat}).status_code == 200
        (folder / "bird.safetensors").write_bytes(b"another")
        response = client.post("/v1/colorize?category=bird", files={"file": cat})
        assert (response.status_code, response.json()["type"]) == (503, "urn:chromaroute:problem:bundle-changed")
        assert client.post("/v1/colorize?category=house", files={"file": cat}).status_code == 200


@pytest.mark.slow
def test_openvino_keeps_the_experts_of_the_bundle_that_it_has_loaded(folder: Path, cat: bytes) -> None:
    with TestClient(create_app(Settings(bundle=folder, jobs=False, expert_bytes=1, engine="openvino"))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        first = client.post("/v1/colorize?category=bird", files={"file": cat})
        (folder / "bird.safetensors").write_bytes(b"another")
        assert client.post("/v1/colorize?category=house", files={"file": cat}).status_code == 200
        assert client.post("/v1/colorize?category=bird", files={"file": cat}).content == first.content
