"""Jobs whose files are damaged on the disk: they end, nothing damaged is taken for a result, and all paths of the API agree."""

import errno
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.jobs.results import job_archive, read_file
from app.jobs.webhooks import Delivery
from app.main import create_app
from app.settings import Settings
from tests.app.archives import tiny_picture
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import parse_events, wait_until

PICTURE = tiny_picture()
UPLOADS = {"a.png": PICTURE, "b.png": tiny_picture("JPEG"), "notes.txt": b"no picture"}
LOST = "urn:chromaroute:problem:result-lost"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service whose periodic clean-up runs only when a test calls it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.jobs.maintenance_thread.PERIOD", 3600)
        with TestClient(create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))) as client:
            yield client


@pytest.fixture(scope="module")
def jobs(client: TestClient) -> JobQueue:
    return client.app.state.jobs  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def posted(client: TestClient, jobs: JobQueue) -> JobFolder:
    """A finished job whose tasks are in the queue."""
    path = post_job(client, UPLOADS).headers["location"]
    assert wait_for_end(client, path)["done"] == 2
    job = jobs.find(path.rpartition("/")[2], None)
    assert job is not None
    return job


@pytest.fixture(scope="module")
def finished(client: TestClient, jobs: JobQueue) -> Path:
    path = post_job(client, UPLOADS).headers["location"]
    wait_for_end(client, path)
    return jobs.store.folder / path.rpartition("/")[2]


@pytest.fixture
def job(finished: Path) -> Iterator[JobFolder]:
    """A copy of a finished job: two pictures and a problem."""
    copy = JobFolder(Path(shutil.copytree(finished, finished.with_name(uuid.uuid4().hex))))
    yield copy
    shutil.rmtree(copy.folder, ignore_errors=True)


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


NOT_A_PICTURE = "urn:chromaroute:problem:not-a-picture"


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


def test_job_without_a_readable_card_is_deleted_when_its_results_expire(jobs: JobQueue, job: JobFolder) -> None:
    (job.folder / "job.json").write_bytes(b"")
    now = datetime.now(UTC)
    jobs.store.sweep(now + timedelta(hours=23), 24)
    assert not job.deleted
    jobs.store.sweep(now + timedelta(hours=25), 24)
    assert job.deleted


@pytest.mark.parametrize("name", ["in", "out"])
def test_job_without_its_folders_is_not_found(client: TestClient, jobs: JobQueue, job: JobFolder, name: str) -> None:
    shutil.rmtree(job.folder / name)
    (job.folder / name).write_bytes(b"")
    clean_up(jobs)
    assert client.get(f"/v1/jobs/{job.folder.name}").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_item_with_damaged_record_is_processed_again_if_its_upload_is_there(
    client: TestClient, jobs: JobQueue, posted: JobFolder, damage: Callable[[Path], None]
) -> None:
    damage(posted.folder / "out" / "000000.done")
    (posted.folder / "in" / "000000").write_bytes(PICTURE)
    clean_up(jobs)
    assert wait_for_end(client, f"/v1/jobs/{posted.card.id}")["done"] == 2
    assert problems_of(client, posted) == [None, None, NOT_A_PICTURE]
    assert list((posted.folder / "in").iterdir()) == []
    assert not (posted.folder / "out" / "000000.try").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_upload_or_mark_of_an_unfinished_item_is_no_obstacle(
    client: TestClient, jobs: JobQueue, posted: JobFolder, damage: Callable[[Path], None]
) -> None:
    (posted.folder / "out" / "000000.done").unlink()
    (posted.folder / "out" / "000001.done").unlink()
    for name, content in (("in/000000", PICTURE), ("in/000001", PICTURE), ("out/000001.try", b"1")):
        (posted.folder / name).write_bytes(content)
    damage(posted.folder / "in" / "000000")
    damage(posted.folder / "out" / "000001.try")
    clean_up(jobs)
    wait_for_end(client, f"/v1/jobs/{posted.card.id}")
    first, second, _ = problems_of(client, posted)
    assert second is None
    is_gone = damage in (replace_by_folder, Path.unlink)
    assert first == LOST if is_gone else first in (NOT_A_PICTURE, "urn:chromaroute:problem:broken-picture")


@pytest.mark.slow
def test_cancelled_job_whose_mark_disappears_is_finished(client: TestClient, jobs: JobQueue, posted: JobFolder) -> None:
    (posted.folder / "out" / "000000.done").unlink()
    (posted.folder / "in" / "000000").write_bytes(PICTURE)
    path = f"/v1/jobs/{posted.card.id}"
    for damage in (empty, replace_by_folder):
        posted.cancel()
        damage(posted.folder / "cancelled")
        clean_up(jobs)
        assert client.get(path).json()["state"] == "cancelled"
        events = parse_events(client.get(f"{path}/events").text)
        assert [event["event"] for event in events] == ["item", "item", "end"]
        shutil.rmtree(posted.folder / "cancelled", ignore_errors=True)
    assert client.get(path).json()["state"] == "running"
    clean_up(jobs)
    assert wait_for_end(client, path)["done"] == 2


def test_tasks_that_are_waiting_are_not_queued_again(
    client: TestClient, jobs: JobQueue, job: JobFolder, posted: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job without any task has just been stored."""
    queued: list[object] = []
    monkeypatch.setattr("app.jobs.queue.DBOS.enqueue_workflow", lambda *task: queued.append(task[2:]))
    for folder in (job.folder, posted.folder):
        (folder / "out" / "000000.done").unlink()
        (folder / "in" / "000000").write_bytes(PICTURE)
    with monkeypatch.context() as patch:
        patch.setattr("app.jobs.queue.DBOS.list_workflows", lambda **_: ["a task"])
        clean_up(jobs)
    assert queued == []
    clean_up(jobs)
    assert queued == [(posted.card.id, 0)]


def test_clean_up_twice_changes_nothing_more(jobs: JobQueue, job: JobFolder) -> None:
    def files() -> dict[Path, tuple[int, bytes]]:
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in job.folder.rglob("*") if path.is_file()}

    before = files()
    clean_up(jobs)
    assert files() == before
    truncate(job.output(0))
    clean_up(jobs)
    after = files()
    assert before != after
    clean_up(jobs)
    assert files() == after


def test_item_that_is_finished_while_the_folder_is_read_is_not_lost(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    record, path = JobFolder.record, job.folder / "out" / "000000.done"
    path.rename(job.folder / "record")

    def record_of_finished(self: JobFolder, index: int) -> object:
        if not path.exists():
            (job.folder / "record").rename(path)
        return record(self, index)

    monkeypatch.setattr(JobFolder, "record", record_of_finished)
    job.give_up_lost()
    assert [job.record(index).problem is None for index in range(3)] == [True, True, False]  # type: ignore[union-attr]


def test_item_that_another_process_finishes_is_kept(job: JobFolder) -> None:
    before = job.record(0)
    assert job.begin(0) == 0
    assert job.record(0) == before is not None
    job.finish(0, before.model_copy(update={"name": "late"}), b"late")
    job.end(0)
    assert job.record(0) == before
    assert job.unfinished() == []


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


def test_clean_up_continues_with_the_next_job(
    client: TestClient, jobs: JobQueue, job: JobFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    status = JobFolder.status

    def fail_for_one(self: JobFolder, hours: float) -> object:
        if self.card.id == job.card.id:
            raise OSError(errno.EIO, "Input/output error")
        return status(self, hours)

    other = JobFolder(Path(shutil.copytree(job.folder, job.folder.with_name("f" * 32))))
    monkeypatch.setattr(JobFolder, "status", fail_for_one)
    os.utime(other.folder / "out", (0, 0))
    clean_up(jobs)
    assert other.deleted
    assert not job.deleted
    assert "Input/output error" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_state_of_a_webhook_that_is_damaged_begins_anew(job: JobFolder, damage: Callable[[Path], None]) -> None:
    job.delivery = Delivery(3, None, "failed")
    damage(job.folder / "webhook.json")
    assert job.delivery == Delivery()
    job.delivery = Delivery(1, None, "delivered")
    assert job.delivery.outcome == "delivered"


@pytest.mark.slow
def test_items_of_tasks_that_ended_without_them_are_processed(
    client: TestClient, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage may not answer for a moment, as a network file system does not, and a task finds no job."""
    tasks: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_colorize_chunk", lambda *task: tasks.append(task))
        path = post_job(client, UPLOADS).headers["location"]
        wait_until(lambda: bool(tasks) and not jobs._running)
    assert client.get(path).json()["state"] == "running"  # the third item got its problem at once

    def processed() -> bool:
        clean_up(jobs)
        return bool(client.get(path).json()["done"] == 2)

    wait_until(processed)
    assert len(tasks) == 1


def test_task_that_is_claimed_but_does_not_run_is_queued_again(jobs: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection to the database may break after a claim is stored and before that is confirmed."""
    claimed = [SimpleNamespace(workflow_id=name, queue_name="items") for name in ("lost", "running")]
    resumed: list[object] = []
    monkeypatch.setattr("app.jobs.queue.DBOS.list_workflows", lambda **_: claimed)
    monkeypatch.setattr("app.jobs.queue.DBOS.resume_workflows", lambda names, queue_name: resumed.append((names, queue_name)))
    monkeypatch.setattr(jobs, "_running", {"running"})
    jobs._resume_unconfirmed()
    assert resumed == []  # it may be about to run
    jobs._resume_unconfirmed()
    assert resumed == [(["lost"], "items")]


def test_retry_of_a_webhook_is_due_although_the_clock_was_set_back() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    delivery = Delivery().after("refused", now)
    assert delivery.due is not None
    assert not delivery.is_due(now)
    assert delivery.is_due(delivery.due)
    assert delivery.is_due(now - timedelta(hours=1))
