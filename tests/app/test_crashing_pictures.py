"""Pictures during which the server ends: after three times they are given up, and the other items of the job are colorized."""

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.inference.engine import Engine
from app.jobs import queue
from app.jobs.folder import JobFolder
from app.main import create_app
from app.settings import Settings
from tests.app.archives import tiny_picture
from tests.app.helpers import post_job, wait_for_end
from tests.picture_files import tiff
from tests.server_process import Server, serving, wait_until

ENDED = "urn:chromaroute:problem:server-ended"
NAMES = ["a.png", "b.png", "c.png"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))) as client:
        yield client


@pytest.fixture
def job(tmp_path: Path, client: TestClient) -> JobFolder:
    """A folder of a job with an unfinished item."""
    response = post_job(client, {"a.png": tiny_picture()})
    wait_for_end(client, response.headers["location"])
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "000000").write_bytes(tiny_picture())
    card = client.app.state.jobs.store.folder / response.json()["id"] / "job.json"  # type: ignore[attr-defined]
    (tmp_path / "job.json").write_bytes(card.read_bytes())
    return JobFolder(tmp_path)


def test_item_in_progress_is_counted_until_its_end(job: JobFolder) -> None:
    assert [job.begin(0) for _ in range(4)] == [0, 1, 2, 3]
    assert job.ended(0) == 4
    job.end(0)
    assert job.ended(0) == 0
    job.end(0)
    assert job.begin(0) == 0


@pytest.mark.parametrize("content", [b"", b"\xff", b"two", b"9" * 5000, None])
def test_damaged_count_begins_anew(job: JobFolder, content: bytes | None) -> None:
    mark = job.folder / "out" / "000000.try"
    if content is None:
        mark.mkdir()
    else:
        mark.write_bytes(content)
    assert [job.begin(0), job.begin(0)] == [0, 1]
    job.end(0)
    assert not mark.exists()


@pytest.mark.slow
def test_ordinary_failure_is_not_counted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    colorize, begin, failures = Engine.colorize, JobFolder.begin, [OSError("a stale handle")] * (queue.MAX_ENDED + 1)

    async def fail_at_first(self: Engine, *arguments: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return await colorize(self, *arguments, **options)  # type: ignore[arg-type]

    def counted(self: JobFolder, index: int) -> int:
        counts.append(begin(self, index))
        return counts[-1]

    monkeypatch.setattr(Engine, "colorize", fail_at_first)
    monkeypatch.setattr(JobFolder, "begin", counted)
    monkeypatch.setattr(queue, "RETRY_DELAY", 0.05)
    path = post_job(client, {"a.png": tiny_picture(), "b.jpg": tiny_picture("JPEG")[:150]}).headers["location"]
    status = wait_for_end(client, path)
    assert (status["done"], status["failed"]) == (1, 1)
    assert counts == [0] * (queue.MAX_ENDED + 3)
    job = client.app.state.jobs.find(path.rpartition("/")[2], None)  # type: ignore[attr-defined]
    assert list((job.folder / "out").glob("*.try")) == []


def many_pages() -> bytes:
    """A file that takes many seconds."""
    return tiff([np.full((256, 256), page % 256, np.uint8) for page in range(400)])


def post_long_item(server: Server) -> str:
    """A job whose first item takes many seconds."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in zip(NAMES, (many_pages(), tiny_picture(), tiny_picture()), strict=True):
            archive.writestr(name, content)
    response = httpx2.post(f"{server.address}/v1/jobs", files={"archive": buffer.getvalue()}, timeout=60)
    return str(response.json()["id"])


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.server
@pytest.mark.slow
def test_picture_that_ends_the_server_three_times_is_given_up(tmp_path: Path) -> None:
    name = ""
    for count in (b"1", b"2", b"3"):
        with serving(tmp_path) as server:
            name = name or post_long_item(server)
            mark = tmp_path / "data" / "jobs" / name / "out" / "000000.try"
            wait_until(lambda: read(mark) == count)  # noqa: B023
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        assert read(mark) == count
    with serving(tmp_path) as server:
        path = f"{server.address}/v1/jobs/{name}"
        wait_until(lambda: httpx2.get(path).json()["state"] == "finished")
        assert (httpx2.get(path).json()["done"], httpx2.get(path).json()["failed"]) == (2, 1)
        with zipfile.ZipFile(io.BytesIO(httpx2.get(f"{path}/result").content)) as archive:
            assert archive.namelist() == ["b.png", "c.png", "decisions.json"]
            records = json.loads(archive.read("decisions.json"))
        assert [record.get("problem", {}).get("type") for record in records] == [ENDED, None, None]
        assert records[0]["problem"]["status"] == 500
        assert "is given up: the server ended 3 times" in server.log.read_text()
        assert not mark.exists()


@pytest.mark.server
@pytest.mark.slow
def test_orderly_shutdown_is_not_counted_and_does_not_wait_for_all_pages(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        name = post_long_item(server)
        folder = tmp_path / "data" / "jobs" / name
        wait_until((folder / "out" / "000000.try").exists)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) in (0, -signal.SIGTERM)
    assert [path.name for path in (folder / "out").iterdir()] == []
    assert len(list((folder / "in").iterdir())) == 3
