"""The data of earlier versions are still read: each archive in `earlier` is a data folder whose server was killed during a job."""

import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

EARLIER = sorted((Path(__file__).parent / "earlier").glob("*.zip"))


@pytest.mark.slow
@pytest.mark.parametrize("archive", EARLIER, ids=lambda path: path.stem)
def test_jobs_and_queue_of_an_earlier_version_are_continued(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    jobs = [path.name for path in (tmp_path / "data" / "jobs").iterdir() if len(path.name) == 32]
    for path in tmp_path.rglob("out"):
        path.touch()  # the results are kept for a day after the last one
    with TestClient(create_app(Settings(data_dir=tmp_path / "data"))) as client:
        states = {}
        deadline = time.monotonic() + 60
        while set(states.values()) != {"finished"} and time.monotonic() < deadline:
            states = {job: client.get(f"/v1/jobs/{job}").json()["state"] for job in jobs}
            time.sleep(0.1)
        assert states == dict.fromkeys(jobs, "finished")
        found = set()
        for job in jobs:
            with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{job}/result").content)) as result:
                records = json.loads(result.read("decisions.json"))
                assert result.testzip() is None
                found.add((len(records), len(result.namelist()) - 1))
        assert found == {(2, 1), (12, 12)}
    assert not list((tmp_path / "data").glob("jobs.sqlite.damaged-*"))
