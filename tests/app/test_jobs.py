"""Jobs in this process; tests/app/test_recovery.py kills others."""

import errno
import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from dbos import DBOS
from fastapi.testclient import TestClient

from app.jobs.queue import JobQueue
from app.jobs.store import JobFolder, JobStore
from app.main import create_app
from app.settings import Settings, SettingsError
from models.errors import CheckpointError
from tests.server_process import free_port, parse_events, wait_until

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service in this process, with jobs."""
    with TestClient(create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), max_bytes=2_000_000))) as client:
        yield client


def post_job(client: TestClient, pictures: dict[str, bytes], query: str = "", **headers: str) -> httpx2.Response:
    files = [("files", (name, content)) for name, content in pictures.items()]
    return client.post(f"/v1/jobs{query}", files=files, headers=headers)


def wait_for_end(client: TestClient, path: str) -> dict[str, object]:
    wait_until(lambda: client.get(path).json()["state"] in ("finished", "cancelled"))
    return client.get(path).json()  # type: ignore[no-any-return]


def tasks_of(path: str) -> list[str]:
    """What the queue knows of a job."""
    return [flow.workflow_id for flow in DBOS.list_workflows(workflow_id_prefix=path.rpartition("/")[2])]


def test_job_is_accepted_colorized_and_returned(service: TestClient, pictures: dict[str, bytes]) -> None:
    response = post_job(service, pictures | {"notes.txt": b"no picture"}, "?format=png")
    assert response.status_code == 202
    path = response.headers["location"]
    assert response.json()["state"] == "queued"
    assert response.json()["total"] == 6
    status = wait_for_end(service, path)
    assert (status["state"], status["done"], status["failed"]) == ("finished", 5, 1)
    assert datetime.fromisoformat(str(status["expires"])) > datetime.now(UTC) + timedelta(hours=23)
    result = service.get(f"{path}/result")
    with zipfile.ZipFile(io.BytesIO(result.content)) as archive:
        assert archive.namelist() == [f"{name}.png" for name in pictures] + ["decisions.json"]
        records = json.loads(archive.read("decisions.json"))
        assert records[-1]["problem"]["status"] == 415
        alone = service.post("/v1/colorize?format=png", files={"file": pictures["cat.jpg"]})
        assert archive.read("cat.jpg.png") == alone.content
    one = service.get(f"{path}/result/1")
    assert one.headers["content-type"] == "image/png"
    assert one.content == alone.content
    assert service.get(f"{path}/result/5").status_code == 404
    assert service.get(f"{path}/result/-1").status_code == 404


def test_events_are_ordered_and_resume_after_last_event_id(service: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(service, pictures | {"notes.txt": b"no picture"}).headers["location"]
    events = parse_events(service.get(f"{path}/events").text)
    assert [event["event"] for event in events] == ["item"] * 6 + ["end"]
    assert [event["id"] for event in events] == list("0123456")
    assert [json.loads(event["data"])["record"]["name"] for event in events[:6]] == [*pictures, "notes.txt"]
    assert json.loads(events[-1]["data"])["state"] == "finished"
    for last, expected in (("3", ["4", "5", "6"]), ("5", ["6"]), ("99", ["100"]), ("x", list("0123456"))):
        again = parse_events(service.get(f"{path}/events", headers={"last-event-id": last}).text)
        assert [event["id"] for event in again] == expected


def test_result_of_unfinished_job_is_409_and_cancel_keeps_finished_items(
    service: TestClient, pictures: dict[str, bytes]
) -> None:
    uploads = {f"{index}.jpg": pictures["cat.jpg"] for index in range(120)}
    path = post_job(service, uploads).headers["location"]
    wait_until(lambda: service.get(path).json()["done"] >= 3)
    early = service.get(f"{path}/result")
    assert (early.status_code, early.json()["type"]) == (409, "urn:chromaroute:problem:job-unfinished")
    assert early.headers["retry-after"] == "1"
    for _ in range(2):
        cancelled = service.post(f"{path}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert parse_events(service.get(f"{path}/events").text)[-1]["event"] == "end"

    def at_rest() -> bool:
        before = service.get(path).json()["done"]
        time.sleep(1)
        return bool(service.get(path).json()["done"] == before)

    wait_until(at_rest)  # what was in hand ends
    colorized = service.get(path).json()["done"]
    assert 3 <= colorized < 120
    with zipfile.ZipFile(io.BytesIO(service.get(f"{path}/result").content)) as archive:
        assert len(archive.namelist()) == colorized + 1
    assert service.delete(path).status_code == 204
    assert service.get(path).status_code == 404


def test_same_idempotency_key_gives_same_job(service: TestClient, pictures: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda _: post_job(service, pictures, **{"idempotency-key": "box-7"}), range(4)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    other = post_job(service, pictures, "?quality=50", **{"idempotency-key": "box-7"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:chromaroute:problem:idempotency-key-reused")
    assert post_job(service, pictures, **{"idempotency-key": "box-8"}).json()["id"] != responses[0].json()["id"]


def test_unknown_job_and_invalid_upload_are_rejected(service: TestClient, pictures: dict[str, bytes]) -> None:
    for name in ("nothing", "..", "%2e%2e", "a" * 32):
        assert service.get(f"/v1/jobs/{name}").status_code in (404, 405)
    assert service.post("/v1/jobs", files={"archive": b"no zip"}).status_code == 422
    assert service.post("/v1/jobs?category=spaceship", files={"files": pictures["cat.jpg"]}).status_code == 422


def test_expired_results_are_deleted(service: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(service, pictures).headers["location"]
    wait_for_end(service, path)
    jobs: JobQueue = service.app.state.jobs  # type: ignore[attr-defined]
    jobs.clean_up(datetime.now(UTC) + timedelta(hours=23))
    assert service.get(path).status_code == 200
    assert tasks_of(path)
    jobs.clean_up(datetime.now(UTC) + timedelta(hours=25))
    assert service.get(path).status_code == 404
    assert not tasks_of(path)
    assert list(jobs.store.folder.glob(".*")) == []


def test_job_folder_is_locked_by_one_server(service: TestClient) -> None:
    folder = service.app.state.jobs.settings.data_dir  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="another server uses the jobs"):
        create_app(Settings(data_dir=folder))


def test_disabled_jobs_are_rejected_and_write_nothing(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    with TestClient(create_app(Settings(data_dir=tmp_path / "data", jobs=False))) as client:
        response = client.post("/v1/jobs", files={"files": pictures["cat.jpg"]})
        assert (response.status_code, response.json()["type"]) == (501, "urn:chromaroute:problem:jobs-disabled")
    assert not (tmp_path / "data").exists()


def test_deleted_job_can_be_sent_again_with_same_idempotency_key(service: TestClient, pictures: dict[str, bytes]) -> None:
    for _ in range(2):
        response = post_job(service, pictures, **{"idempotency-key": "again"})
        assert response.json()["state"] == "queued"
        path = response.headers["location"]
        assert wait_for_end(service, path)["done"] == 5
        assert service.delete(path).status_code == 204
        assert service.get(path).status_code == service.delete(path).status_code == 404
        wait_until(lambda: not tasks_of(path))  # noqa: B023


def test_deleting_running_job_removes_files_and_ends_event_stream(service: TestClient, pictures: dict[str, bytes]) -> None:
    uploads = {f"{index}.jpg": pictures["cat.jpg"] for index in range(60)}
    path = post_job(service, uploads, **{"idempotency-key": "in hand"}).headers["location"]
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(service.get, f"{path}/events")
        wait_until(lambda: service.get(path).json()["done"] >= 3)
        folder = service.app.state.jobs.find(path.rpartition("/")[2], None).folder  # type: ignore[attr-defined]
        service.app.state.jobs.find(path.rpartition("/")[2], None).delete()  # type: ignore[attr-defined]
        assert "event: end" not in stream.result(30).text
    time.sleep(1)
    assert not folder.exists()
    assert post_job(service, uploads, **{"idempotency-key": "in hand"}).status_code == 202
    assert service.delete(path).status_code == 204


def test_cancelled_job_has_event_for_every_finished_item(service: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(service, pictures).headers["location"]
    wait_for_end(service, path)
    job = service.app.state.jobs.find(path.rpartition("/")[2], None)  # type: ignore[attr-defined]
    (job.folder / "out" / "000001.done").unlink()  # as if others had been quicker
    job.cancel()
    assert [event["id"] for event in parse_events(service.get(f"{path}/events").text)] == ["0", "2", "3", "4", "5"]
    odd = service.get(f"{path}/events", headers={"last-event-id": "9" * 5000})
    assert len(parse_events(odd.text)) == 5


def test_other_files_in_job_folder_are_ignored(service: TestClient) -> None:
    folder: Path = service.app.state.jobs.store.folder  # type: ignore[attr-defined]
    (folder / "README").write_text("of the jobs")
    (folder / ("a" * 32)).mkdir()
    (folder / ("a" * 32) / "job.json").write_text('{"id": ')
    try:
        assert service.get(f"/v1/jobs/{'a' * 32}").status_code == 404
        assert service.get(f"/v1/jobs/{'a' * 300}").status_code == 404
        service.app.state.jobs.clean_up(datetime.now(UTC))  # type: ignore[attr-defined]
        service.app.state.jobs._enqueue_all()  # type: ignore[attr-defined]
    finally:
        shutil.rmtree(folder / ("a" * 32))
        (folder / "README").unlink()


def test_items_are_retried_after_errors_of_the_environment(
    service: TestClient, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.inference.engine import Engine
    from app.jobs import queue

    colorize, failures = Engine.colorize, [OSError("a stale handle"), MemoryError(), CheckpointError("restore the bundle")]

    async def failing(self: Engine, *arguments: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return await colorize(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "colorize", failing)
    monkeypatch.setattr(queue, "RETRY_DELAY", 0.05)
    assert wait_for_end(service, post_job(service, pictures).headers["location"])["done"] == 5

    found, record, hidden = JobStore.find, JobFolder.record, [OSError(errno.ESTALE, "Stale file handle") for _ in range(2)]

    def once(work: Callable[..., object]) -> Callable[..., object]:
        def tried(*arguments: object) -> object:
            if hidden and threading.current_thread().name.startswith("dbos"):
                raise hidden.pop()
            return work(*arguments)

        return tried

    monkeypatch.setattr(JobStore, "find", once(found))
    monkeypatch.setattr(JobFolder, "record", once(record))
    assert wait_for_end(service, post_job(service, pictures).headers["location"])["done"] == 5
    assert not hidden

    async def never(self: Engine, *arguments: object, **options: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "colorize", never)
    path = post_job(service, {"cat.jpg": pictures["cat.jpg"]}).headers["location"]
    assert wait_for_end(service, path)["failed"] == 1
    assert '"status":500' in service.get(f"{path}/events").text


def test_failed_background_task_is_retried_and_clean_up_continues(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.retry_worker.RETRY_DELAY", 0.05)
    monkeypatch.setattr("app.jobs.retry_worker.PERIOD", 0.1)
    runs: list[str] = []
    monkeypatch.setattr(JobQueue, "clean_up", lambda *_: runs.append("tidied"))

    def failing() -> None:
        runs.append("failed")
        if runs.count("failed") < 5:
            raise OSError("the database blinked")

    service.app.state.jobs._worker.submit(failing)  # type: ignore[attr-defined]
    wait_until(lambda: runs.count("failed") == 5 and "tidied" in runs)
    time.sleep(0.3)
    assert runs.count("failed") == 5  # it went well the fifth time, and is not run again


def test_full_disk_and_full_backlog_are_rejected_and_leave_no_files(
    service: TestClient, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = service.app.state.jobs.store.folder  # type: ignore[attr-defined]
    before = sorted(folder.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.jobs.store.replace_file", full)
        response = post_job(service, pictures)
        assert (response.status_code, response.json()["type"]) == (507, "urn:chromaroute:problem:insufficient-storage")
    monkeypatch.setattr(service.app.state.jobs, "_backlog", 99_998)  # type: ignore[attr-defined]
    response = post_job(service, pictures)
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
    assert sorted(folder.iterdir()) == before


def test_unusable_job_storage_stops_startup(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="CHROMAROUTE_DATA_DIR"):
        create_app(Settings(data_dir=tmp_path / "file"))
    with pytest.raises(SettingsError, match=r"CHROMAROUTE_DATABASE cannot be reached: (?s:.*)Start it"):
        create_app(Settings(data_dir=tmp_path, database=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"))
