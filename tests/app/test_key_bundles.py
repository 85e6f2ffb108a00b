"""The bundle of an API key: pictures of a key that names one are colorized by it, beside the bundle of the server."""

import asyncio
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api_keys import add_key, read_keys
from app.inference.bundles import NamedBundles
from app.main import create_app
from app.settings import Settings, SettingsError
from models.bundle_header import EVERYDAY, read_header
from models.errors import BundleError, OptionError
from tests.server_process import wait_until

KEPT = ("cat", "general")


def write_bundle(folder: Path, description: str = "Cats alone.") -> str:
    """Write the embedded bundle with another description and return its label."""
    shutil.copytree(EVERYDAY, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"name": folder.name, "description": description}))
    return read_header(folder).label


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The labels of the bundles by the names of the keys, and the folder of all files."""
    folder = tmp_path_factory.mktemp("tenants")
    label = write_bundle(folder / "bundles" / "cats")
    return {"archive": read_header(EVERYDAY).label, "cats": label, "folder": str(folder)}


@pytest.fixture(scope="module")
def clients(labels: dict[str, str]) -> Iterator[dict[str, Callable[..., TestClient]]]:
    folder = Path(labels["folder"])
    secrets = {
        "archive": add_key(folder / "keys.json", "archive", 1000, admin=True),
        "cats": add_key(folder / "keys.json", "cats", 1000, bundle="cats"),
    }
    settings = Settings(keys=folder / "keys.json", bundles=folder / "bundles", data_dir=folder / "data")
    with TestClient(create_app(settings)) as client:

        def of(name: str) -> TestClient:
            client.headers["authorization"] = f"Bearer {secrets[name]}"
            return client

        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield {name: lambda name=name: of(name) for name in secrets}


@pytest.mark.parametrize("key", ["archive", "cats"])
def test_every_route_uses_the_bundle_of_the_key(
    clients: dict[str, Callable[..., TestClient]], labels: dict[str, str], cat: bytes, key: str
) -> None:
    client, label = clients[key](), labels[key]
    assert client.get("/v1/bundle").json()["bundle"] == label
    assert client.post("/v1/colorize", files={"file": cat}).headers["x-chromaroute-bundle"] == label
    assert client.post("/v1/route", files={"file": cat}).json()["bundle"] == label
    assert client.post("/v1/colors", params={"x": 5, "y": 5}, files={"file": cat}).json()["decision"]["bundle"] == label
    variants = client.post("/v1/colorize/variants", files={"file": cat}).json()["variants"]
    assert {variant["decision"]["bundle"] for variant in variants} == {label}
    with zipfile.ZipFile(io.BytesIO(client.post("/v1/colorize/batch", files={"files": cat}).content)) as archive:
        assert json.loads(archive.read("decisions.json"))[0]["decision"]["bundle"] == label


@pytest.mark.parametrize("key", ["archive", "cats"])
def test_jobs_remember_the_bundle_of_the_key(
    clients: dict[str, Callable[..., TestClient]], labels: dict[str, str], cat: bytes, key: str
) -> None:
    path = clients[key]().post("/v1/jobs", files={"files": ("cat.jpg", cat)}).raise_for_status().headers["location"]
    wait_until(lambda: clients[key]().get(path).json()["state"] == "finished")
    with zipfile.ZipFile(io.BytesIO(clients[key]().get(f"{path}/result").content)) as archive:
        assert json.loads(archive.read("decisions.json"))[0]["decision"]["bundle"] == labels[key]


def test_reload_serves_what_is_in_the_folder_of_a_key_now(
    clients: dict[str, Callable[..., TestClient]], labels: dict[str, str], cat: bytes
) -> None:
    folder = Path(labels["folder"]) / "bundles" / "cats"
    try:
        changed = write_bundle(folder, "Other cats.")
        assert clients["cats"]().get("/v1/bundle").json()["bundle"] == labels["cats"]
        clients["archive"]().post("/v1/bundle/reload").raise_for_status()
        assert clients["cats"]().post("/v1/colorize", files={"file": cat}).headers["x-chromaroute-bundle"] == changed
    finally:
        write_bundle(folder)
        clients["archive"]().post("/v1/bundle/reload").raise_for_status()


@pytest.mark.parametrize(
    ("folder", "message"),
    [(None, "set CHROMAROUTE_BUNDLES to the folder that contains it"), ("bundles", "the key 'press' names the bundle 'dogs'")],
)
def test_a_key_of_a_missing_bundle_is_refused_at_start(tmp_path: Path, folder: str | None, message: str) -> None:
    add_key(tmp_path / "keys.json", "press", 60, bundle="dogs")
    bundles = tmp_path / folder if folder else None
    with pytest.raises(SettingsError, match=message):
        create_app(Settings(keys=tmp_path / "keys.json", bundles=bundles, jobs=False))


@pytest.mark.parametrize("name", ["../secret", "a/b", ".hidden", "-", " "])
def test_names_of_bundles_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="bundle is"):
        add_key(tmp_path / "keys.json", "press", 60, bundle=name)
    assert not (tmp_path / "keys.json").exists()


def test_keys_of_earlier_versions_use_the_bundle_of_the_server(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"name": "press", "sha256": 64 * "0", "per_minute": 60, "admin": False}]))
    assert read_keys(path)[0].bundle == ""


def test_the_least_recently_used_bundle_leaves_the_memory(tmp_path: Path) -> None:
    loaded = []

    async def use() -> None:
        bundles = NamedBundles(Settings(bundles=tmp_path, bundles_kept=2), lambda folder: loaded.append(folder.name) or folder.name)
        for name in ("a", "b", "a", "c", "a", "b"):
            assert await bundles.get(name) == name

    asyncio.run(use())
    assert loaded == ["a", "b", "c", "b"]


def test_requests_that_come_during_a_load_wait_for_it(tmp_path: Path) -> None:
    loads, released = [], threading.Event()

    def load(folder: Path) -> str:
        loads.append(folder.name)
        released.wait(10)
        return folder.name

    async def use() -> list[str]:
        bundles = NamedBundles(Settings(bundles=tmp_path), load)
        waiting = [asyncio.create_task(bundles.get("a")) for _ in range(3)]
        await asyncio.sleep(0.01)
        released.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(use()) == ["a", "a", "a"]
    assert loads == ["a"]


def test_a_bundle_that_could_not_be_loaded_is_tried_again(tmp_path: Path) -> None:
    results = iter([BundleError("damaged"), "mended"])

    def load(folder: Path) -> str:
        result = next(results)
        if isinstance(result, BundleError):
            raise result
        return result

    async def use() -> str:
        bundles = NamedBundles(Settings(bundles=tmp_path), load)
        with pytest.raises(BundleError):
            await bundles.get("a")
        return await bundles.get("a")

    assert asyncio.run(use()) == "mended"
