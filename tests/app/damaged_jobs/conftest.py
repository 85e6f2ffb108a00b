"""A service with finished jobs, whose files tests damage."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbos import DBOS
from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.main import create_app
from app.settings import Settings
from tests.app.damaged_jobs.damage import UPLOADS
from tests.app.helpers import post_job, wait_for_end
from tests.server_process import wait_until


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
    # the last record comes before the end of its task, and items of tasks that have not ended are not queued again
    wait_until(lambda: not DBOS.list_workflows(workflow_id_prefix=f"{job.card.id}-", status=["ENQUEUED", "PENDING"]))
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
