"""Jobs when files, the disk, the database or the engine fail."""

import errno
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.inference.engine import Engine
from app.jobs import queue
from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.jobs.store import JobStore
from app.main import create_app
from app.settings import Settings, SettingsError
from models.errors import CheckpointError
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import free_port, wait_until


def test_other_files_in_job_folder_are_ignored(job_client: TestClient) -> None:
    folder: Path = job_client.app.state.jobs.store.folder  # type: ignore[attr-defined]
    (folder / "README").write_text("not a job")
    (folder / ("a" * 32)).mkdir()
    (folder / ("a" * 32) / "job.json").write_text('{"id": ')
    try:
        assert job_client.get(f"/v1/jobs/{'a' * 32}").status_code == 404
        assert job_client.get(f"/v1/jobs/{'a' * 300}").status_code == 404
        job_client.app.state.jobs.clean_up(datetime.now(UTC))  # type: ignore[attr-defined]
        job_client.app.state.jobs._enqueue_all()  # type: ignore[attr-defined]
    finally:
        shutil.rmtree(folder / ("a" * 32))
        (folder / "README").unlink()


@pytest.mark.slow
def test_items_are_retried_after_errors_of_the_environment(
    job_client: TestClient, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    colorize, failures = Engine.colorize, [OSError("a stale handle"), MemoryError(), CheckpointError("restore the bundle")]

    async def fail_at_first(self: Engine, *arguments: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return await colorize(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "colorize", fail_at_first)
    monkeypatch.setattr(queue, "RETRY_DELAY", 0.05)
    assert wait_for_end(job_client, post_job(job_client, pictures).headers["location"])["done"] == 5

    find, record, stale = JobStore.find, JobFolder.record, [OSError(errno.ESTALE, "Stale file handle") for _ in range(2)]

    def fail_in_worker(work: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if stale and threading.current_thread().name.startswith("dbos"):
                raise stale.pop()
            return work(*arguments)

        return call

    monkeypatch.setattr(JobStore, "find", fail_in_worker(find))
    monkeypatch.setattr(JobFolder, "record", fail_in_worker(record))
    assert wait_for_end(job_client, post_job(job_client, pictures).headers["location"])["done"] == 5
    assert not stale

    async def crash(self: Engine, *arguments: object, **options: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "colorize", crash)
    path = post_job(job_client, {"cat.jpg": pictures["cat.jpg"]}).headers["location"]
    assert wait_for_end(job_client, path)["failed"] == 1
    assert '"status":500' in job_client.get(f"{path}/events").text


@pytest.mark.slow
def test_failed_background_task_is_retried_and_clean_up_continues(job_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.maintenance_thread.RETRY_DELAY", 0.05)
    monkeypatch.setattr("app.jobs.maintenance_thread.PERIOD", 0.1)
    runs: list[str] = []
    monkeypatch.setattr(JobQueue, "clean_up", lambda *_: runs.append("cleaned up"))

    def fail_at_first() -> None:
        runs.append("failed")
        if runs.count("failed") < 5:
            raise OSError("the database is not available")

    job_client.app.state.jobs._worker.submit(fail_at_first)  # type: ignore[attr-defined]
    wait_until(lambda: runs.count("failed") == 5 and "cleaned up" in runs)
    time.sleep(0.3)
    assert runs.count("failed") == 5  # the fifth run succeeded, and there is no other


def test_full_disk_and_full_backlog_are_rejected_and_leave_no_files(
    job_client: TestClient, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = job_client.app.state.jobs.store.folder  # type: ignore[attr-defined]
    before = sorted(folder.iterdir())

    def raise_disk_full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.jobs.store.replace_file", raise_disk_full)
        response = post_job(job_client, pictures)
        assert (response.status_code, response.json()["type"]) == (507, "urn:chromaroute:problem:insufficient-storage")
    monkeypatch.setattr(job_client.app.state.jobs, "_backlog", 99_998)  # type: ignore[attr-defined]
    response = post_job(job_client, pictures)
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    assert sorted(folder.iterdir()) == before


def test_unusable_job_storage_stops_startup(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="CHROMAROUTE_DATA_DIR"):
        create_app(Settings(data_dir=tmp_path / "file"))
    with pytest.raises(SettingsError, match=r"CHROMAROUTE_DATABASE cannot be reached: (?s:.*)Start it"):
        create_app(Settings(data_dir=tmp_path, database=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"))


@pytest.mark.slow
@pytest.mark.parametrize("error", [NotImplementedError("no locks"), OSError(errno.ENOLCK, "No locks available")])
def test_server_starts_without_jobs_where_there_are_no_file_locks(
    error: Exception, pictures: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("app.jobs.folder_lock.FileLock.acquire", acquire)
    with TestClient(create_app(Settings(data_dir=tmp_path))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        response = post_job(client, pictures)
        assert (response.status_code, response.json()["type"]) == (501, "urn:chromaroute:problem:jobs-disabled")
    assert "does not support file locks" in caplog.text
