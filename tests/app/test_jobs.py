"""Jobs of a service in this process; test_recovery.py kills servers."""

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dbos import DBOS
from fastapi.testclient import TestClient

from app.jobs.queue import JobQueue
from app.main import create_app
from app.settings import Settings, SettingsError
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import parse_events, wait_until


def tasks_of(path: str) -> list[str]:
    """The tasks of a job in the queue."""
    return [flow.workflow_id for flow in DBOS.list_workflows(workflow_id_prefix=path.rpartition("/")[2])]


def test_job_is_accepted_colorized_and_returned(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    response = post_job(job_client, pictures | {"notes.txt": b"no picture"}, "?format=png")
    assert response.status_code == 202
    path = response.headers["location"]
    assert response.json()["state"] in ("queued", "running")
    assert response.json()["total"] == 6
    status = wait_for_end(job_client, path)
    assert (status["state"], status["done"], status["failed"]) == ("finished", 5, 1)
    assert datetime.fromisoformat(str(status["expires"])) > datetime.now(UTC) + timedelta(hours=23)
    result = job_client.get(f"{path}/result")
    with zipfile.ZipFile(io.BytesIO(result.content)) as archive:
        assert archive.namelist() == [f"{name}.png" for name in pictures] + ["decisions.json"]
        records = json.loads(archive.read("decisions.json"))
        assert records[-1]["problem"]["status"] == 415
        single = job_client.post("/v1/colorize?format=png", files={"file": pictures["cat.jpg"]})
        assert archive.read("cat.jpg.png") == single.content
    item = job_client.get(f"{path}/result/1")
    assert item.headers["content-type"] == "image/png"
    assert item.content == single.content
    assert job_client.get(f"{path}/result/5").status_code == 404
    assert job_client.get(f"{path}/result/-1").status_code == 404


def test_events_are_ordered_and_resume_after_last_event_id(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(job_client, pictures | {"notes.txt": b"no picture"}).headers["location"]
    events = parse_events(job_client.get(f"{path}/events").text)
    assert [event["event"] for event in events] == ["item"] * 6 + ["end"]
    assert [event["id"] for event in events] == list("0123456")
    assert [json.loads(event["data"])["record"]["name"] for event in events[:6]] == [*pictures, "notes.txt"]
    assert json.loads(events[-1]["data"])["state"] == "finished"
    for last, expected in (("3", ["4", "5", "6"]), ("5", ["6"]), ("99", ["100"]), ("x", list("0123456"))):
        again = parse_events(job_client.get(f"{path}/events", headers={"last-event-id": last}).text)
        assert [event["id"] for event in again] == expected


@pytest.mark.slow
def test_unfinished_job_has_no_result_and_cancel_keeps_finished_items(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    uploads = {f"{index}.jpg": pictures["cat.jpg"] for index in range(120)}
    path = post_job(job_client, uploads).headers["location"]
    wait_until(lambda: job_client.get(path).json()["done"] >= 3)
    early = job_client.get(f"{path}/result")
    assert (early.status_code, early.json()["type"]) == (409, "urn:chromaroute:problem:job-unfinished")
    assert early.headers["retry-after"] == "1"
    for _ in range(2):
        cancelled = job_client.post(f"{path}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert parse_events(job_client.get(f"{path}/events").text)[-1]["event"] == "end"

    def progress_stopped() -> bool:
        before = job_client.get(path).json()["done"]
        time.sleep(1)
        return bool(job_client.get(path).json()["done"] == before)

    wait_until(progress_stopped)  # items in progress are finished
    done = job_client.get(path).json()["done"]
    assert 3 <= done < 120
    with zipfile.ZipFile(io.BytesIO(job_client.get(f"{path}/result").content)) as archive:
        assert len(archive.namelist()) == done + 1
    assert job_client.delete(path).status_code == 204
    assert job_client.get(path).status_code == 404


def test_same_idempotency_key_gives_same_job(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda _: post_job(job_client, pictures, **{"idempotency-key": "scans-7"}), range(4)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    other = post_job(job_client, pictures, "?quality=50", **{"idempotency-key": "scans-7"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:chromaroute:problem:idempotency-key-reused")
    assert post_job(job_client, pictures, **{"idempotency-key": "scans-8"}).json()["id"] != responses[0].json()["id"]


def test_unknown_job_and_invalid_upload_are_rejected(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    for name in ("nothing", "..", "%2e%2e", "a" * 32):
        assert job_client.get(f"/v1/jobs/{name}").status_code in (404, 405)
    assert job_client.post("/v1/jobs", files={"archive": b"no zip"}).status_code == 422
    assert job_client.post("/v1/jobs?category=spaceship", files={"files": pictures["cat.jpg"]}).status_code == 422


def test_expired_results_are_deleted(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(job_client, pictures).headers["location"]
    wait_for_end(job_client, path)
    jobs: JobQueue = job_client.app.state.jobs  # type: ignore[attr-defined]
    jobs.clean_up(datetime.now(UTC) + timedelta(hours=23))
    assert job_client.get(path).status_code == 200
    assert tasks_of(path)
    jobs.clean_up(datetime.now(UTC) + timedelta(hours=25))
    assert job_client.get(path).status_code == 404
    assert not tasks_of(path)
    assert list(jobs.store.folder.glob(".*")) == []


def test_job_folder_is_locked_by_one_server(job_client: TestClient) -> None:
    folder = job_client.app.state.jobs.settings.data_dir  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="another server uses the jobs"):
        create_app(Settings(data_dir=folder))


@pytest.mark.slow
def test_disabled_jobs_are_rejected_and_write_nothing(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    with TestClient(create_app(Settings(data_dir=tmp_path / "data", jobs=False))) as client:
        response = client.post("/v1/jobs", files={"files": pictures["cat.jpg"]})
        assert (response.status_code, response.json()["type"]) == (501, "urn:chromaroute:problem:jobs-disabled")
    assert not (tmp_path / "data").exists()


def test_deleted_job_can_be_sent_again_with_same_idempotency_key(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    for _ in range(2):
        response = post_job(job_client, pictures, **{"idempotency-key": "again"})
        assert response.json()["state"] in ("queued", "running")
        path = response.headers["location"]
        assert wait_for_end(job_client, path)["done"] == 5
        assert job_client.delete(path).status_code == 204
        assert job_client.get(path).status_code == job_client.delete(path).status_code == 404
        wait_until(lambda: not tasks_of(path))  # noqa: B023


@pytest.mark.slow
def test_deleting_running_job_removes_files_and_ends_event_stream(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    uploads = {f"{index}.jpg": pictures["cat.jpg"] for index in range(60)}
    path = post_job(job_client, uploads, **{"idempotency-key": "running"}).headers["location"]
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(job_client.get, f"{path}/events")
        wait_until(lambda: job_client.get(path).json()["done"] >= 3)
        folder = job_client.app.state.jobs.find(path.rpartition("/")[2], None).folder  # type: ignore[attr-defined]
        job_client.app.state.jobs.find(path.rpartition("/")[2], None).delete()  # type: ignore[attr-defined]
        assert "event: end" not in stream.result(30).text
    time.sleep(1)
    assert not folder.exists()
    assert post_job(job_client, uploads, **{"idempotency-key": "running"}).status_code == 202
    assert job_client.delete(path).status_code == 204


@pytest.mark.slow
def test_cancelled_job_has_event_for_every_finished_item(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    path = post_job(job_client, pictures).headers["location"]
    wait_for_end(job_client, path)
    job = job_client.app.state.jobs.find(path.rpartition("/")[2], None)  # type: ignore[attr-defined]
    (job.folder / "out" / "000001.done").unlink()  # as if it had finished after the others
    job.cancel()
    assert [event["id"] for event in parse_events(job_client.get(f"{path}/events").text)] == ["0", "2", "3", "4", "5"]
    too_large = job_client.get(f"{path}/events", headers={"last-event-id": "9" * 5000})
    assert len(parse_events(too_large.text)) == 5
