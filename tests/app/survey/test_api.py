"""The questions, pictures and votes of a served survey."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.survey.store import Survey, SurveyError
from tests.app.survey.bundles import VOTER, Key


@pytest.fixture(scope="module")
def survey_client(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with the survey, for all tests that do not depend on each other's votes."""
    settings = Settings(survey=survey, data_dir=tmp_path_factory.mktemp("data"), jobs=False)
    with TestClient(create_app(settings)) as client:
        yield client


def get_questions(survey_client: TestClient, voter: str = VOTER) -> dict[str, Any]:
    response = survey_client.get("/survey/questions", headers={"X-Survey-Voter": voter})
    assert response.status_code == 200, response.text
    return dict(response.json())


def vote(survey_client: TestClient, question: str, choice: str, voter: str = VOTER) -> Any:
    return survey_client.post("/survey/votes", json={"question": question, "choice": choice}, headers={"X-Survey-Voter": voter})


def test_each_voter_has_own_stable_order(survey_client: TestClient, key: Key) -> None:
    orders, seen = set(), Counter[str]()
    for number in range(60):
        questions = get_questions(survey_client, f"{number:032x}")["questions"]
        orders.add(str(questions))
        for question in questions:
            if question["kind"] == "real":
                (picture,) = question["pictures"]
                seen[key[question["id"]]["pictures"][picture]] += 1
            else:
                assert len(question["pictures"]) == 3
    assert len(orders) == 60
    assert set(seen) == {"truth", "everyday", "vivid", "pale"}
    assert min(seen.values()) > 30  # of 240: all about equally often
    assert get_questions(survey_client) == get_questions(survey_client)


def test_only_first_vote_counts(survey_client: TestClient) -> None:
    voter = "f" * 32
    question = next(each for each in get_questions(survey_client, voter)["questions"] if each["kind"] == "natural")
    first, second, _ = question["pictures"]
    assert [vote(survey_client, question["id"], first, voter).status_code for _ in range(2)] == [204, 204]
    other = vote(survey_client, question["id"], second, voter)
    assert (other.status_code, other.json()["type"]) == (409, "urn:chromaroute:problem:already-voted")
    remaining = get_questions(survey_client, voter)
    assert (remaining["total"], len(remaining["questions"])) == (8, 7)
    assert question["id"] not in [each["id"] for each in remaining["questions"]]


def test_picture_headers_reveal_nothing(survey_client: TestClient, survey: Path) -> None:
    name = next(survey.glob("*.jpg")).name
    found = survey_client.get(f"/survey/pictures/{name}")
    assert found.content == (survey / name).read_bytes()
    assert {"etag", "last-modified"}.isdisjoint(found.headers)
    assert survey_client.get("/survey").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "voter", "status", "kind"),
    [
        ({"choice": "none"}, VOTER, 422, "bad-vote"),
        ({"question": "0" * 16}, VOTER, 404, "not-found"),
        ({}, "me", 422, "bad-option"),
        ({"comment": "nice"}, VOTER, 422, "bad-request"),
        ({"comment": "x" * 5000}, VOTER, 413, "too-large"),
    ],
)
def test_invalid_vote_is_rejected(survey_client: TestClient, body: dict[str, str], voter: str, status: int, kind: str) -> None:
    question = get_questions(survey_client)["questions"][0]
    choice = question["pictures"][0] if question["kind"] == "natural" else "real"
    response = survey_client.post(
        "/survey/votes", json={"question": question["id"], "choice": choice, **body}, headers={"X-Survey-Voter": voter}
    )
    assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
    for name in ("survey.json", "survey.key.json", "..%2Fsurvey.key.json"):
        assert survey_client.get(f"/survey/pictures/{name}").status_code == 404


@pytest.mark.slow
def test_votes_are_rate_limited_and_locked_database_is_reported(
    survey: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.survey.store.LOCK_TIMEOUT", 0.1)
    with TestClient(create_app(Settings(survey=survey, data_dir=tmp_path, jobs=False))) as client:
        question = next(each for each in get_questions(client)["questions"] if each["kind"] == "real")["id"]
        (votes,) = tmp_path.glob("surveys/*.sqlite")
        with closing(sqlite3.connect(votes)) as database:
            database.execute("BEGIN EXCLUSIVE")
            assert vote(client, question, "real").json()["type"] == "urn:chromaroute:problem:overloaded"
        monkeypatch.setattr("app.survey.store.VOTES_PER_MINUTE", 5)
        codes = [vote(client, question, "real", f"{number:032x}").status_code for number in range(8)]
    assert codes[0] == 204
    assert codes[-1] == 503


def test_invalid_survey_folder_is_rejected(survey: Path, tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match="create one with chromaroute-train survey build"):
        Survey(tmp_path, tmp_path)
    shutil.copytree(survey, tmp_path / "copy")
    next((tmp_path / "copy").glob("*.jpg")).unlink()
    with pytest.raises(SurveyError, match="is not a survey that can be served"):
        Survey(tmp_path / "copy", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SurveyError, match="set another CHROMAROUTE_DATA_DIR"):
        Survey(survey, tmp_path / "file")


def test_survey_is_404_if_not_configured(client: TestClient) -> None:
    assert client.get("/survey").status_code == 404
