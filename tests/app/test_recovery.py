"""Jobs continue after servers are killed, on SQLite and on a PostgreSQL server that the tests start."""

import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import pytest

from tests.postgres_server import serving_postgres
from tests.server_process import Server, parse_events, serving, wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow]


def post_job(server: Server, archive: bytes) -> str:
    response = httpx2.post(f"{server.address}/v1/jobs", files={"archive": archive}, timeout=60)
    assert response.status_code == 202
    return str(response.json()["id"])


def archive_of_200(pictures: dict[str, bytes]) -> bytes:
    """An archive of 200 pictures."""
    contents = list(pictures.values())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(200):
            archive.writestr(f"{index:03}.jpg", contents[index % len(contents)])
    return buffer.getvalue()


def finished_items(out: Path) -> dict[str, int]:
    """The finished items, and when each was finished."""
    return {path.stem: path.stat().st_mtime_ns for path in out.glob("*.done")}


def test_job_survives_sigkill_and_colorizes_each_item_once(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    before: dict[str, int] = {}
    name, colorized = "", 0
    for share in (0.0, 0.1, 0.5, 0.97):
        with serving(tmp_path) as server:
            name = name or post_job(server, archive_of_200(pictures))
            out = tmp_path / "data" / "jobs" / name / "out"
            wait_until(lambda: len(finished_items(out)) >= 200 * share)  # noqa: B023
            colorized += colorized_items(server)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        now = finished_items(out)
        assert before.items() <= now.items()  # finished items are not colorized again
        before = now
    with serving(tmp_path) as server:
        events = parse_events(httpx2.get(f"{server.address}/v1/jobs/{name}/events", timeout=120).text)
        assert [event["id"] for event in events] == [str(index) for index in range(201)]
        assert before.items() <= finished_items(out).items()
        assert colorized + colorized_items(server) <= 200 + 5 * 8  # only items in progress were lost at each kill
        with zipfile.ZipFile(io.BytesIO(httpx2.get(f"{server.address}/v1/jobs/{name}/result", timeout=60).content)) as archive:
            assert archive.namelist() == [f"{index:03}.jpg" for index in range(200)] + ["decisions.json"]
            assert len(json.loads(archive.read("decisions.json"))) == 200


def colorized_items(server: Server) -> int:
    """The number of job items that this process has colorized."""
    text = httpx2.get(f"{server.address}/metrics").text
    return sum(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("chromaroute_job_items_total"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with serving_postgres() as url:
        yield url


def replica(name: str, folder: Path, database: str) -> AbstractContextManager[Server]:
    """A server that shares the jobs in a folder with other replicas."""
    (folder / name).mkdir()
    return serving(folder / name, replica=name, data_dir=folder / "data", database=database)


def test_replica_takes_over_job_of_killed_replica(postgres: str, tmp_path: Path, pictures: dict[str, bytes]) -> None:
    with replica("one", tmp_path, postgres) as one, replica("two", tmp_path, postgres) as two:
        name = post_job(one, archive_of_200(pictures))
        out = tmp_path / "data" / "jobs" / name / "out"
        wait_until(lambda: min(colorized_items(one), colorized_items(two)) >= 5)  # both replicas work on it
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        before = finished_items(out)
        os.utime(tmp_path / "data" / "replicas" / "one", (0, 0))  # as if its last heartbeat were a minute ago
        response = httpx2.get(f"{two.address}/v1/jobs/{name}/events", headers={"last-event-id": "9"}, timeout=120)
        assert [event["id"] for event in parse_events(response.text)] == [str(index) for index in range(10, 201)]
        assert before.items() <= finished_items(out).items()
        assert len(finished_items(out)) == 200
        assert "lost replica one" in two.log.read_text()


def test_replica_takes_over_job_at_once_after_orderly_shutdown(postgres: str, tmp_path: Path, pictures: dict[str, bytes]) -> None:
    with replica("four", tmp_path, postgres) as four:
        with replica("three", tmp_path, postgres) as three:
            name = post_job(three, archive_of_200(pictures))
            wait_until(lambda: colorized_items(three) >= 5)
        wait_until(lambda: httpx2.get(f"{four.address}/v1/jobs/{name}").json()["state"] == "finished", 40)
        assert httpx2.get(f"{four.address}/v1/jobs/{name}").json()["done"] == 200
