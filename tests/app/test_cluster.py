"""The service is the same in one process and on a Ray cluster: every test runs against both, over HTTP."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi.testclient import TestClient

from app.api_keys import add_key
from app.cluster.options import ClusterOptions
from app.cluster.proxy import LostReplicas
from app.settings import Settings, SettingsError
from models.bundle_header import EVERYDAY
from models.errors import OptionError
from tests.cluster_process import serving_on_cluster
from tests.server_process import ROOT, parse_events, serving, wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAVY = json.dumps([{"x": 40, "y": 50, "color": "#1f3a8f"}])
JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, Path]]]:
    """The address of each service, and the folder of its bundle, which tests may change."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("process", "cluster")}
    variables: dict[str, Any] = {}
    for name, folder in folders.items():
        shutil.copytree(EVERYDAY, folder / "bundle")
        secret = add_key(folder / "keys.json", "archive", 100_000, admin=True)
        shutil.copytree(EVERYDAY, folder / "bundles" / "press")
        manifest = folder / "bundles" / "press" / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "press"}))
        (folder / "press").write_text(add_key(folder / "keys.json", "press", 100_000, bundle="press"))
        variables[name] = {
            "keys": folder / "keys.json", "bundle": folder / "bundle", "bundles": folder / "bundles",
            "data_dir": folder / "data", "precision": "float32",
            "cache_dir": os.environ["CHROMAROUTE_CACHE_DIR"],
        }  # fmt: skip
        (folder / "secret").write_text(secret)
    with (
        serving(folders["process"], **variables["process"]) as process,
        serving_on_cluster(folders["cluster"], "networks_replicas=2", **variables["cluster"]) as cluster,
    ):
        yield {"process": (process.address, folders["process"]), "cluster": (cluster.address, folders["cluster"])}


def client_of(address: str, folder: Path) -> httpx.Client:
    headers = {"authorization": f"Bearer {(folder / 'secret').read_text()}"}
    return httpx.Client(base_url=address, headers=headers, timeout=60)


@pytest.fixture(params=["process", "cluster"])
def service(request: pytest.FixtureRequest, addresses: dict[str, tuple[str, Path]]) -> Iterator[httpx.Client]:
    with client_of(*addresses[request.param]) as client:
        yield client


@pytest.fixture
def both(addresses: dict[str, tuple[str, Path]]) -> Iterator[list[httpx.Client]]:
    with client_of(*addresses["process"]) as process, client_of(*addresses["cluster"]) as cluster:
        yield [process, cluster]


def folder_of(addresses: dict[str, tuple[str, Path]], service: httpx.Client) -> Path:
    """The folder of the bundle of a service."""
    return next(folder for address, folder in addresses.values() if str(service.base_url).rstrip("/") == address)


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "timings_ms"}


@pytest.mark.parametrize(
    ("options", "form"),
    [({}, {}), ({"format": "png"}, {}), ({"routing": "soft", "format": "webp"}, {}), ({"format": "png"}, {"hints": NAVY})],
    ids=["plain", "png", "soft", "hints"],
)
def test_colors_are_the_same(both: list[httpx.Client], cat: bytes, options: dict[str, str], form: dict[str, str]) -> None:
    answers = [client.post("/v1/colorize", params=options, files={"file": cat}, data=form) for client in both]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["x-chromaroute-category"] == answers[1].headers["x-chromaroute-category"] == "cat"


@pytest.mark.parametrize("path", ["/v1/route", "/v1/colors?x=30&y=40", "/v1/colorize/variants"])
def test_records_are_the_same(both: list[httpx.Client], cat: bytes, path: str) -> None:
    one, other = (client.post(path, files={"file": cat}).raise_for_status().json() for client in both)
    if path == "/v1/route":
        assert without_times(one) == without_times(other)
    else:
        assert one.keys() == other.keys()
        assert one.get("colors") == other.get("colors")
        assert [each["image"] for each in one.get("variants", ())] == [each["image"] for each in other.get("variants", ())]


def test_document_and_page_are_the_same(both: list[httpx.Client]) -> None:
    for path in ("/openapi.json", "/", "/web/page.js", "/v1/categories", "/v1/bundle"):
        one, other = (client.get(path).raise_for_status() for client in both)
        assert one.content == other.content, path


@pytest.mark.parametrize(
    ("path", "options", "content", "status"),
    [
        ("/v1/colorize", {"quality": "0"}, None, 422),
        ("/v1/colorize", {"category": "boat"}, None, 422),
        ("/v1/colors", {"x": "9999", "y": "0"}, None, 422),
        ("/v1/colorize", {"nothing": "1"}, None, 422),
        ("/v1/colorize", {}, b"a text", 415),
        ("/v1/jobs/unknown", {}, None, 405),
    ],
)
def test_problems_are_the_same(
    both: list[httpx.Client], cat: bytes, path: str, options: dict[str, str], content: bytes | None, status: int
) -> None:
    answers = [client.post(path, params=options, files={"file": content or cat}) for client in both]
    assert [answer.status_code for answer in answers] == [status, status]
    details = [{key: value for key, value in answer.json().items() if key != "instance"} for answer in answers]
    assert details[0] == details[1]


def test_keys_are_needed(service: httpx.Client, cat: bytes) -> None:
    answer = service.post("/v1/colorize", files={"file": cat}, headers={"authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:chromaroute:problem:unauthorized")


def test_keys_have_bundles_of_their_own(addresses: dict[str, tuple[str, Path]], service: httpx.Client, cat: bytes) -> None:
    folder = folder_of(addresses, service)
    press = {"authorization": f"Bearer {(folder / 'press').read_text()}"}
    answers = [service.post("/v1/colorize", files={"file": cat}, headers=headers) for headers in ({}, press, {}, press)]
    names = [answer.headers["x-chromaroute-bundle"].split("@")[0] for answer in answers]
    assert names == ["everyday", "press", "everyday", "press"]
    path = service.post("/v1/jobs", files={"files": ("cat.jpg", cat)}, headers=press).headers["location"]
    wait_until(lambda: service.get(path, headers=press).json()["state"] == "finished")
    assert service.get(f"{path}/result/0", headers=press).status_code == 200


def test_a_replaced_bundle_of_a_key_is_followed_on_a_cluster(addresses: dict[str, tuple[str, Path]], cat: bytes) -> None:
    address, folder = addresses["cluster"]
    manifest = folder / "bundles" / "press" / "manifest.json"
    before = manifest.read_text()
    with client_of(address, folder) as client:
        client.headers["authorization"] = f"Bearer {(folder / 'press').read_text()}"

        def label() -> str:
            return client.post("/v1/colorize", files={"file": cat}).raise_for_status().headers["x-chromaroute-bundle"]

        old = label()
        manifest.write_text(json.dumps(json.loads(before) | {"description": "Another description."}))
        wait_until(lambda: label() != old, 30)
        assert client.get("/v1/bundle").json()["manifest"]["description"] == "Another description."
        assert label().split("@")[0] == old.split("@")[0] == "press"
        manifest.write_text(before)
        wait_until(lambda: label() == old, 30)
        assert client.get("/v1/bundle").json()["bundle"] == old


def test_batches_are_streamed(service: httpx.Client, cat: bytes) -> None:
    files = [("files", ("one.jpg", cat)), ("files", ("two.txt", b"a text"))]
    answer = service.post("/v1/colorize/batch", files=files).raise_for_status()
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        records = json.loads(archive.read("decisions.json"))
        assert archive.namelist()[0] == "one.jpg"
    assert [bool(record.get("problem")) for record in records] == [False, True]


def test_jobs_run_and_their_results_can_be_resumed(service: httpx.Client, cat: bytes) -> None:
    created = service.post("/v1/jobs", files=[("files", (f"{index}.jpg", cat)) for index in range(3)])
    assert created.status_code == 202
    path = created.headers["location"]
    events = parse_events(service.get(f"{path}/events").text)
    assert [event["event"] for event in events].count("item") == 3
    assert json.loads(events[-1]["data"])["done"] == 3
    wait_until(lambda: service.get(path).json()["state"] == "finished")
    whole = service.get(f"{path}/result/1").raise_for_status()
    part = service.get(f"{path}/result/1", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    head = service.head(f"{path}/result/1")
    assert head.headers["etag"] == whole.headers["etag"]
    assert service.delete(path).status_code == 204


def test_bundle_is_replaced_without_a_failed_request(
    addresses: dict[str, tuple[str, Path]], service: httpx.Client, cat: bytes
) -> None:
    folder = folder_of(addresses, service)
    manifest = folder / "bundle" / "manifest.json"
    before = service.get("/v1/bundle").json()["digest"]
    changed = json.loads(manifest.read_text()) | {"description": "Another description."}
    manifest.write_text(json.dumps(changed))
    answers = [service.post("/v1/route", files={"file": cat}).status_code for _ in range(5)]
    assert service.post("/v1/bundle/reload").raise_for_status().json()["digest"] != before
    answers += [service.post("/v1/route", files={"file": cat}).status_code for _ in range(5)]
    assert set(answers) == {200}
    shutil.copy(EVERYDAY / "manifest.json", manifest)
    assert service.post("/v1/bundle/reload").raise_for_status().json()["digest"] == before


@pytest.mark.parametrize(("arguments", "message"), [({"replicas": "2"}, "replicas is '2'"), ({"batch": "0"}, "batch is '0'")])
def test_wrong_arguments_of_the_application_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ClusterOptions.parse(arguments)


@pytest.mark.parametrize("variables", [{"CHROMAROUTE_ALLOW_ANONYMOUS": "1"}, {}], ids=["anonymous", "no keys"])
def test_serve_build_writes_the_deployments(tmp_path: Path, variables: dict[str, str]) -> None:
    command = [Path(sys.executable).with_name("serve"), "build", "app.cluster.application:default", "-o", tmp_path / "serve.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    if not variables:
        assert "listening on the addresses of the cluster without API keys" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    (application,) = yaml.safe_load((tmp_path / "serve.yaml").read_text())["applications"]
    assert {deployment["name"] for deployment in application["deployments"]} == {"api", "networks"}


def test_several_api_replicas_need_a_database_for_their_jobs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set CHROMAROUTE_DATABASE, or CHROMAROUTE_JOBS=0"):
        ClusterOptions(api_replicas=2).check(Settings(data_dir=tmp_path))
    ClusterOptions(api_replicas=2).check(Settings(data_dir=tmp_path, jobs=False))


@pytest.mark.parametrize(
    ("status", "content_type", "shown"),
    [(500, b"text/plain", 503), (503, b"text/plain", 503), (500, b"application/problem+json", 500), (404, b"text/plain", 404)],
)
def test_proxies_answer_for_lost_replicas_as_the_service_does(status: int, content_type: bytes, shown: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
        await send({"type": "http.response.body", "body": b"Internal"})

    answer = TestClient(LostReplicas(app)).get("/v1/route")
    assert answer.status_code == shown
    if shown != status or status == 503:
        assert answer.json()["type"] == "urn:chromaroute:problem:overloaded"
        assert answer.headers["retry-after"] == "1"
    else:
        assert answer.text == "Internal"


def test_proxies_answer_where_ray_does_not() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """As the proxy, if the replica is lost before it answers."""

    assert TestClient(LostReplicas(app)).get("/v1/route").status_code == 503
