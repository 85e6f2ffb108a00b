"""The clean-up and the queue end every job, whatever was damaged or lost."""

import errno
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.jobs.webhooks import Delivery
from tests.app.damaged_jobs.damage import (
    DAMAGES,
    LOST,
    NOT_A_PICTURE,
    PICTURE,
    UPLOADS,
    clean_up,
    empty,
    problems_of,
    replace_by_folder,
    truncate,
)
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import parse_events, wait_until


def test_job_without_a_readable_card_is_deleted_when_its_results_expire(jobs: JobQueue, job: JobFolder) -> None:
    (job.folder / "job.json").write_bytes(b"")
    now = datetime.now(UTC)
    jobs.store.sweep(now + timedelta(hours=23), 24)
    assert not job.deleted
    jobs.store.sweep(now + timedelta(hours=25), 24)
    assert job.deleted


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


@pytest.mark.slow
def test_items_of_tasks_that_ended_without_them_are_processed(
    client: TestClient, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage may not answer for a moment, as a network file system does not, and a task finds no job."""
    tasks: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_colorize_chunk", lambda *task: tasks.append(task))
        path = post_job(client, UPLOADS).headers["location"]
        own = path.rpartition("/")[2], 0
        wait_until(lambda: own in tasks and not jobs._running)  # others may be of the jobs of other tests
    assert client.get(path).json()["state"] == "running"  # the third item got its problem at once

    def processed() -> bool:
        clean_up(jobs)
        return bool(client.get(path).json()["done"] == 2)

    wait_until(processed)
    assert tasks.count(own) == 1


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
