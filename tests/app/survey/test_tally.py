"""Counting stored votes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.app.survey.bundles import VOTER, Key
from tests.server_process import serving
from training.survey.tally import tally


@pytest.mark.server
@pytest.mark.slow
def test_votes_survive_crash_and_foreign_votes_are_left_out(survey: Path, key: Key, tmp_path: Path) -> None:
    with serving(tmp_path, "--survey", str(survey), jobs=0) as server:
        question = httpx.get(f"{server.address}/survey/questions", headers={"X-Survey-Voter": VOTER}).json()["questions"][0]
        choice = question["pictures"][0] if question["kind"] == "natural" else "real"
        body = {"question": question["id"], "choice": choice}
        httpx.post(f"{server.address}/survey/votes", json=body, headers={"X-Survey-Voter": VOTER}).raise_for_status()
        server.process.kill()
    (votes,) = (tmp_path / "data" / "surveys").glob("*.sqlite")
    with closing(sqlite3.connect(votes)) as database, database:
        for row in (("x", "f" * 16, "a", "a"), ("x", question["id"], "b", "b")):
            database.execute("INSERT INTO votes VALUES (?, ?, ?, ?, '2026-01-01T00:00:00+00:00')", row)
    counts = tally(survey.with_name("survey.key.json"), votes)
    assert (counts.votes, counts.not_voted_on) == (1, 7)
    assert counts.left_out == {"on questions that are not in the key": 1, "for pictures that were not shown": 1}
    with serving(tmp_path, "--survey", str(survey), jobs=0) as server:
        remaining = httpx.get(f"{server.address}/survey/questions", headers={"X-Survey-Voter": VOTER}).json()["questions"]
        assert question["id"] not in [each["id"] for each in remaining]


def test_unreadable_votes_and_keys_are_reported(survey: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"not a database, but long enough to be opened as one" * 20)
    for key, votes, message in (
        (survey / "survey.json", tmp_path / "broken.sqlite", "is not the key of a survey"),
        (survey.with_name("survey.key.json"), tmp_path / "nowhere.sqlite", "there are no votes in"),
        (survey.with_name("survey.key.json"), tmp_path / "broken.sqlite", "cannot be read"),
    ):
        with pytest.raises(Exception, match=message):
            tally(key, votes)
