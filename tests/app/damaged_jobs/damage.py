"""Ways to damage the file of a job, and what the service says of the job then."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from tests.app.archives import tiny_picture
from tests.server_process import parse_events

PICTURE = tiny_picture()
UPLOADS = {"a.png": PICTURE, "b.png": tiny_picture("JPEG"), "notes.txt": b"no picture"}
LOST = "urn:chromaroute:problem:result-lost"
NOT_A_PICTURE = "urn:chromaroute:problem:not-a-picture"


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 0x40
    path.write_bytes(content)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"x")


DAMAGES = [empty, truncate, flip, replace_by_folder, Path.unlink]


def clean_up(jobs: JobQueue) -> None:
    jobs.clean_up(datetime.now(UTC))


def problems_of(client: TestClient, job: JobFolder) -> list[str | None]:
    """The type of the problem of each item of a job that has ended, on which all paths of the API agree."""
    path = f"/v1/jobs/{job.folder.name}"
    status = client.get(path).json()
    *items, end = [json.loads(event["data"]) for event in parse_events(client.get(f"{path}/events").text)]
    assert end == {name: value for name, value in status.items() if value is not None}
    assert (status["id"], status["state"], status["total"]) == (job.folder.name, "finished", 3)
    records = [item["record"] for item in items]
    problems = [record.get("problem", {}).get("type") for record in records]
    assert [item["index"] for item in items] == [0, 1, 2]
    assert (status["done"], status["failed"]) == (problems.count(None), 3 - problems.count(None))
    with zipfile.ZipFile(io.BytesIO(client.get(f"{path}/result").content)) as archive:
        outputs = [record["output"] for record in records if "output" in record]
        assert archive.namelist() == [*outputs, "decisions.json"]
        assert json.loads(archive.read("decisions.json")) == records
        for index, record in enumerate(records):
            single = client.get(f"{path}/result/{index}")
            if "output" in record:
                assert single.status_code == 200
                assert len(single.content) == archive.getinfo(record["output"]).file_size
            else:
                assert single.status_code == 404
    return problems
