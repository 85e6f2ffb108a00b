"""Several API replicas on a Ray cluster share jobs in PostgreSQL; the metrics of each are exported by Ray."""

import io
import json
import os
import re
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster_process import serving_on_cluster
from tests.postgres_server import serving_postgres
from tests.server_process import Server, parse_events, wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("replicas")
    with (
        serving_postgres() as database,
        serving_on_cluster(folder, "api_replicas=2", database=database, data_dir=folder / "data") as server,
    ):
        yield server


def post_job(service: Server, pictures: dict[str, bytes], count: int) -> str:
    contents = list(pictures.values())
    files = [("files", (f"{index:03}.jpg", contents[index % len(contents)])) for index in range(count)]
    return httpx.post(f"{service.address}/v1/jobs", files=files, timeout=60).raise_for_status().headers["location"]


def is_descendant(process: int, ancestor: int) -> bool:
    while process > 1 and process != ancestor:
        process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return process == ancestor


def exported(service: Server, name: str) -> dict[str, float]:
    """The values of a metric by replica, as Ray exports them."""
    (port,) = re.findall(r"metrics port (\d+)", service.log.read_text())
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    lines = re.findall(rf'^ray_{name}{{.*?replica="(\w+)".*}} (\S+)$', text, re.MULTILINE)
    return {replica: float(value) for replica, value in lines}


def test_jobs_are_visible_from_every_replica(service: Server, pictures: dict[str, bytes]) -> None:
    path = post_job(service, pictures, 20)
    answers = [httpx.get(f"{service.address}{path}", timeout=60) for _ in range(20)]  # each replica answers some of them
    assert {answer.status_code for answer in answers} == {200}
    events = parse_events(httpx.get(f"{service.address}{path}/events", timeout=120).text)
    assert [event["id"] for event in events] == [str(index) for index in range(21)]
    with zipfile.ZipFile(io.BytesIO(httpx.get(f"{service.address}{path}/result", timeout=60).content)) as archive:
        assert len(json.loads(archive.read("decisions.json"))) == 20


def test_metrics_of_all_replicas_are_exported_by_ray(service: Server, pictures: dict[str, bytes]) -> None:
    def counts() -> dict[str, float]:
        return exported(service, "chromaroute_job_items_total")

    path = post_job(service, pictures, 40)
    wait_until(lambda: httpx.get(f"{service.address}{path}", timeout=60).json()["state"] == "finished", 120)
    wait_until(lambda: len(counts()) == 2 and sum(counts().values()) >= 40, 60)
    assert all(count > 0 for count in counts().values())  # both replicas colorize items of a job


def test_job_of_a_killed_replica_is_finished_by_the_others(service: Server, pictures: dict[str, bytes]) -> None:
    path = post_job(service, pictures, 100)
    folder = Path(service.log.parent, "data", "jobs", path.rsplit("/", 1)[1], "out")
    wait_until(lambda: len(list(folder.glob("*.done"))) >= 5)
    found = subprocess.run(["pgrep", "-f", "ray::ServeReplica:chromaroute:api"], capture_output=True, text=True, check=True)
    own = [process for process in map(int, found.stdout.split()) if is_descendant(process, service.process.pid)]
    os.kill(own[0], signal.SIGKILL)
    beats = service.log.parent / "data" / "replicas"
    for beat in beats.iterdir():
        os.utime(beat, (0, 0))  # as if the last heartbeat of the lost one were a minute ago; the other beats again

    def state() -> str:
        answer = httpx.get(f"{service.address}{path}", timeout=60)
        return str(answer.json()["state"]) if answer.status_code == 200 else str(answer.status_code)

    wait_until(lambda: state() == "finished", 120)
    status = httpx.get(f"{service.address}{path}", timeout=60).json()
    assert (status["done"], status["failed"]) == (100, 0)
