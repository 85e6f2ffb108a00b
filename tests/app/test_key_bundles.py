"""The bundle of an API key: pictures of a key that names one are colorized by it, beside the bundle of the server."""

import asyncio
import io
import json
import shutil
import signal
import sys
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.api_keys import add_key, read_keys, revoke_key
from app.inference.bundles import NamedBundles
from app.main import create_app
from app.settings import Settings, SettingsError
from models.bundle_header import EVERYDAY, read_header
from models.errors import BundleError, OptionError
from tests.server_process import serving, wait_until


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


def test_requests_for_a_bundle_that_is_gone_are_refused(
    clients: dict[str, Callable[..., TestClient]], labels: dict[str, str], cat: bytes
) -> None:
    folder = Path(labels["folder"]) / "bundles" / "cats"
    client = clients["cats"]()
    client.app.state.engine.named._kept.clear()  # type: ignore[attr-defined]  # as after an eviction
    folder.rename(folder.with_name("elsewhere"))
    try:
        assert client.get("/v1/categories").json()["type"] == "urn:chromaroute:problem:bundle-changed"
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 503
        assert client.post("/v1/jobs", files={"files": cat}).status_code == 503
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert client.post("/v1/colorize", files={"file": cat}).status_code == 200


def test_job_whose_bundle_is_gone_ends_without_attempts_that_keep_others_waiting(
    clients: dict[str, Callable[..., TestClient]], cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients["cats"]()
    attempts = []

    async def refuse(name: str) -> None:
        attempts.append(name)
        raise BundleError("the bundle is gone: restore it.")

    client.get("/v1/bundle").raise_for_status()
    monkeypatch.setattr(client.app.state.engine.named, "get", refuse)  # type: ignore[attr-defined]
    path = client.post("/v1/jobs", files=[("files", (f"{n}.jpg", cat)) for n in range(3)]).headers["location"]
    wait_until(lambda: client.get(path).json()["state"] == "finished")
    with zipfile.ZipFile(io.BytesIO(client.get(f"{path}/result").content)) as archive:
        problems = [record["problem"]["type"] for record in json.loads(archive.read("decisions.json"))]
    assert problems == 3 * ["urn:chromaroute:problem:bundle-changed"]
    assert attempts == 3 * ["cats"]


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
def test_keys_are_reloaded_although_a_bundle_is_missing(tmp_path: Path) -> None:
    """A key that was revoked must not work any longer."""
    keys = tmp_path / "keys.json"
    headers = {"authorization": f"Bearer {add_key(keys, 'press', 60)}"}
    with serving(tmp_path, keys=keys, jobs=0) as server:
        assert httpx2.get(f"{server.address}/v1/bundle", headers=headers).status_code == 200
        revoke_key(keys, "press")
        add_key(keys, "other", 60, bundle="missing")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: httpx2.get(f"{server.address}/v1/bundle", headers=headers).status_code == 401)
        wait_until(lambda: "the key 'other' names the bundle 'missing'" in server.log.read_text())


@dataclass(frozen=True)
class FakeHeader:
    digest: str
    label: str = "fake"


@dataclass(frozen=True)
class FakeEnsemble:
    """Stands for an ensemble: loading a real one takes half a second."""

    name: str
    bundle: FakeHeader = FakeHeader("0")


def bundles(folder: Path, load: Callable[[Path], Awaitable[Any]], kept: int = 2) -> NamedBundles[Any]:
    return NamedBundles(Settings(bundles=folder, bundles_kept=kept), load)


def test_the_least_recently_used_bundle_is_evicted(tmp_path: Path) -> None:
    loaded = []

    async def load(folder: Path) -> FakeEnsemble:
        loaded.append(folder.name)
        return FakeEnsemble(folder.name)

    async def use() -> None:
        named = bundles(tmp_path, load)
        for name in ("a", "b", "a", "c", "a", "b"):
            assert (await named.get(name)).name == name

    asyncio.run(use())
    assert loaded == ["a", "b", "c", "b"]


def test_one_bundle_is_loaded_at_a_time_and_requests_wait_for_the_same_load(tmp_path: Path) -> None:
    loads: list[str] = []
    in_progress: list[int] = []

    async def load(folder: Path) -> FakeEnsemble:
        loads.append(folder.name)
        in_progress.append(1)
        assert len(in_progress) == 1
        await asyncio.sleep(0.01)
        in_progress.pop()
        return FakeEnsemble(folder.name)

    async def use() -> list[FakeEnsemble]:
        named = bundles(tmp_path, load, kept=1)
        return await asyncio.gather(*(named.get(name) for name in "aabacab"))

    assert "".join(each.name for each in asyncio.run(use())) == "aabacab"
    assert sorted(loads) == ["a", "b", "c"]


def test_a_bundle_that_could_not_be_loaded_is_tried_again_also_if_nobody_waited(tmp_path: Path) -> None:
    results: list[BundleError | FakeEnsemble] = [BundleError("damaged"), BundleError("damaged"), FakeEnsemble("mended")]

    async def load(folder: Path) -> FakeEnsemble:
        await asyncio.sleep(0.01)
        result = results.pop(0)
        if isinstance(result, BundleError):
            raise result
        return result

    async def use() -> FakeEnsemble:
        named = bundles(tmp_path, load)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(named.get("a"), 0.001)
        await asyncio.sleep(0.05)
        with pytest.raises(BundleError):
            await named.get("a")
        return await named.get("a")

    assert asyncio.run(use()).name == "mended"


def test_a_changed_bundle_is_followed_and_a_bad_one_leaves_the_old_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a")

    async def load(folder: Path) -> FakeEnsemble:
        header = read_header(folder)
        if header.manifest.description == "bad":
            raise BundleError("damaged")
        return FakeEnsemble(header.manifest.description, FakeHeader(header.digest))

    async def use() -> list[str]:
        named, seen = bundles(tmp_path, load), []
        for description in ("first", "second", "bad", "third"):
            write_bundle(tmp_path / "a", description)
            await named.follow()
            seen.append((await named.get("a")).name)
        return seen

    assert asyncio.run(use()) == ["first", "second", "second", "third"]
