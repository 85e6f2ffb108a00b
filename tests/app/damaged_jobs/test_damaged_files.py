"""Jobs whose files are damaged on the disk: nothing damaged is taken for a result, and all paths of the API agree."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.jobs.results import job_archive, read_file
from app.jobs.webhooks import Delivery
from tests.app.damaged_jobs.damage import DAMAGES, LOST, NOT_A_PICTURE, clean_up, flip, problems_of, truncate


@pytest.mark.parametrize(
    ("name", "index", "damage"),
    [
        (name, index, damage)
        for name, index in (("000000.done", 0), ("000000", 0), ("000002.failed", 2))
        for damage in DAMAGES
        if (name, damage) != ("000000", flip)  # the content of an output is not read: its checksum is in the archive
    ],
)
def test_item_whose_result_is_damaged_gets_a_problem(
    client: TestClient, jobs: JobQueue, job: JobFolder, name: str, index: int, damage: Callable[[Path], None]
) -> None:
    assert problems_of(client, job) == [None, None, NOT_A_PICTURE]
    damage(job.folder / "out" / name)
    path = f"/v1/jobs/{job.folder.name}"
    status = client.get(path).json()
    assert (status["state"], status["done"] + status["failed"], status["expires"]) == ("running", 2, None)
    early = client.get(f"{path}/result")
    assert (early.status_code, early.json()["type"]) == (409, "urn:chromaroute:problem:job-unfinished")
    assert client.get(f"{path}/result/{index}").status_code == 404
    clean_up(jobs)
    expected = [None, None, NOT_A_PICTURE]
    expected[index] = LOST
    assert problems_of(client, job) == expected


def test_altered_output_has_another_checksum_than_its_archive(client: TestClient, jobs: JobQueue, job: JobFolder) -> None:
    flip(job.output(0))
    clean_up(jobs)
    assert problems_of(client, job) == [None, None, NOT_A_PICTURE]
    with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{job.folder.name}/result").content)) as archive:
        assert archive.testzip() == "a.png"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["out/000000.try", "in/000000", "cancelled", "webhook.json"])
def test_other_files_of_a_finished_job_do_not_matter(
    client: TestClient, jobs: JobQueue, job: JobFolder, name: str, damage: Callable[[Path], None]
) -> None:
    (job.folder / name).write_bytes(b"12")
    damage(job.folder / name)
    clean_up(jobs)
    assert problems_of(client, job) == [None, None, NOT_A_PICTURE]


@pytest.mark.parametrize("damage", DAMAGES)
def test_job_without_a_readable_card_is_not_found(
    client: TestClient, jobs: JobQueue, job: JobFolder, damage: Callable[[Path], None]
) -> None:
    damage(job.folder / "job.json")
    clean_up(jobs)
    path = f"/v1/jobs/{job.folder.name}"
    for end in ("", "/events", "/result", "/result/0"):
        assert client.get(path + end).status_code == 404
    assert client.delete(path).status_code == client.post(f"{path}/cancel").status_code == 404


@pytest.mark.parametrize("name", ["in", "out"])
def test_job_without_its_folders_is_not_found(client: TestClient, jobs: JobQueue, job: JobFolder, name: str) -> None:
    shutil.rmtree(job.folder / name)
    (job.folder / name).write_bytes(b"")
    clean_up(jobs)
    assert client.get(f"/v1/jobs/{job.folder.name}").status_code == 404


@pytest.mark.parametrize("damage", [flip, truncate])
def test_record_that_is_damaged_after_it_was_read_is_noticed(
    client: TestClient, jobs: JobQueue, job: JobFolder, damage: Callable[[Path], None]
) -> None:
    """A bad sector changes neither the date nor the size that the server has noted."""
    path = job.folder / "out" / "000000.done"
    assert problems_of(client, job)[0] is None
    found = path.stat()
    damage(path)
    with path.open("r+b") as file:
        file.truncate(found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert client.get(f"/v1/jobs/{job.folder.name}/result").status_code == 409
    clean_up(jobs)
    assert problems_of(client, job)[0] == LOST


def test_any_bit_of_a_record_may_change(job: JobFolder) -> None:
    path = job.folder / "out" / "000000.done"
    content = path.read_bytes()
    outcomes = set()
    for place in range(0, len(content), 2):
        path.write_bytes(content[:place] + bytes((content[place] ^ 1,)) + content[place + 1 :])
        os.utime(path, ns=(place, place))
        record, status = job.record(0), job.status(24)
        assert (status.done, status.state) == ((1, "running") if record is None else (2, "finished"))
        made = job_archive(job)
        with zipfile.ZipFile(io.BytesIO(b"".join(made.read(0, made.size)))) as archive:
            assert len(archive.namelist()) == status.done + 1
        outcomes.add(status.done)
    assert outcomes == {1, 2}


def test_any_bit_of_the_card_may_change(client: TestClient, job: JobFolder) -> None:
    content, path = (job.folder / "job.json").read_bytes(), f"/v1/jobs/{job.folder.name}"
    codes = set()
    for place in range(len(content)):
        for bit in (1, 4):
            (job.folder / "job.json").write_bytes(content[:place] + bytes((content[place] ^ bit,)) + content[place + 1 :])
            if (found := client.app.state.jobs.store.find(job.folder.name)) is None:  # type: ignore[attr-defined]
                codes.add(404)
            else:
                codes.add(200)
                assert (found.status(24).id, found.status(24).done) == (job.folder.name, 2)
                assert job_archive(found).size > 0
    assert codes == {200, 404}
    assert client.get(path).status_code in codes


@pytest.mark.parametrize("name", ["copy of 000000.done", "000000 (1).done", "000009.done", "x.failed", ".000000.done.k3j4h5g6"])
def test_files_of_other_names_are_not_counted(client: TestClient, jobs: JobQueue, job: JobFolder, name: str) -> None:
    shutil.copy(job.folder / "out" / "000000.done", job.folder / "out" / name)
    shutil.copy(job.output(0), (job.folder / "out" / name).with_suffix(""))
    clean_up(jobs)
    assert problems_of(client, job) == [None, None, NOT_A_PICTURE]


def test_output_that_gets_shorter_is_not_sent_as_whole(client: TestClient, job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, size = job_archive(job), job.output(0).stat().st_size

    def truncate_meanwhile(output: Path) -> str:
        truncate(output)
        return "image/png"

    monkeypatch.setattr("app.routes.jobs._media_type", truncate_meanwhile)
    with pytest.raises(EOFError, match="shorter than its record"):
        client.get(f"/v1/jobs/{job.folder.name}/result/0")
    for read in (lambda: archive.read(0, archive.size), lambda: read_file(job.output(0), 0, size)):
        with pytest.raises(EOFError, match="shorter than its record"):
            list(read())


@pytest.mark.parametrize("damage", DAMAGES)
def test_state_of_a_webhook_that_is_damaged_begins_anew(job: JobFolder, damage: Callable[[Path], None]) -> None:
    job.delivery = Delivery(3, None, "failed")
    damage(job.folder / "webhook.json")
    assert job.delivery == Delivery()
    job.delivery = Delivery(1, None, "delivered")
    assert job.delivery.outcome == "delivered"
