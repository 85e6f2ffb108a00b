"""A blind survey from end to end: made from two bundles, asked in a real browser, counted."""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.main import create_app
from app.settings import Settings
from app.survey.store import Survey, SurveyError
from models.bundle import EVERYDAY
from tests.server_process import Server, serving
from tests.cli_runner import run
from training.data.dataset_index import DataError, write_index
from training.data.prepare import prepare
from training.survey.tally import tally

VOTER = "0123456789abcdef" * 2


def like_everyday(folder: Path, name: str, saturation: float) -> Path:
    shutil.copytree(EVERYDAY, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["name"] = name
    for card in manifest["experts"].values():
        card["arguments"]["saturation"] = saturation
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def vivid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the embedded one, and louder."""
    return like_everyday(tmp_path_factory.mktemp("bundles") / "vivid", "vivid", 2.5)


@pytest.fixture(scope="module")
def pale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that paints hardly at all."""
    return like_everyday(tmp_path_factory.mktemp("bundles") / "pale", "pale", 0.3)


@pytest.fixture(scope="module")
def dataset(category_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of crops of photographs, in four categories."""
    path = tmp_path_factory.mktemp("data") / "manifest.csv"
    write_index(prepare(category_folders, "test").entries, path)
    return path


@pytest.fixture(scope="module")
def survey(vivid: Path, pale: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question of each kind for every category."""
    out = tmp_path_factory.mktemp("survey") / "survey"
    output = run("survey", "build", EVERYDAY, vivid, pale, "--out", out, "--data", dataset, "--natural", 1, "--real", 1)
    assert "8 questions" in output
    return out


Key = dict[str, dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def key(survey: Path) -> Key:
    questions: Key = json.loads(survey.with_name("survey.key.json").read_text())["questions"]
    return questions


def test_served_folder_does_not_reveal_candidates(survey: Path, key: Key) -> None:
    card = (survey / "survey.json").read_text()
    assert not any(word in card for word in ("everyday", "vivid", "pale", "truth", "cat", "category"))
    names = {path.name for path in survey.iterdir()} - {"survey.json"}
    assert names == {name for question in json.loads(card)["questions"] for name in question["pictures"]}
    for name in names:
        with Image.open(survey / name) as image:
            assert not image.info.get("exif")
    written = sorted(names, key=lambda name: (survey / name).stat().st_mtime_ns)
    assert written == sorted(names)  # in the order of their names, and not of those who colorized them
    for category in ("cat", "food", "flower", "general"):
        own = {each["kind"]: sorted(each["pictures"].values()) for each in key.values() if each["category"] == category}  # type: ignore[index]
        assert own == {"natural": ["everyday", "pale", "vivid"], "real": ["everyday", "pale", "truth", "vivid"]}  # type: ignore[comparison-overlap]


def test_survey_is_determined_by_seed(
    survey: Path, vivid: Path, pale: Path, dataset: Path, tmp_path: Path
) -> None:
    arguments = ("survey", "build", EVERYDAY, vivid, pale, "--data", dataset, "--real", 1)
    for name, seed in (("same", 0), ("other", 1)):
        run(*arguments, "--out", tmp_path / name, "--seed", seed)
    first, same, other = ((folder / "survey.json").read_bytes() for folder in (survey, tmp_path / "same", tmp_path / "other"))
    assert first == same
    assert first != other
    run(*arguments, "--out", tmp_path / "same", "--seed", 0)  # again, the same one
    kept = (tmp_path / "same.key.json").read_bytes(), (tmp_path / "same" / "survey.json").read_bytes()
    with pytest.raises(DataError, match="is the key of another survey"):
        run(*arguments, "--out", tmp_path / "same", "--seed", 1)
    assert ((tmp_path / "same.key.json").read_bytes(), (tmp_path / "same" / "survey.json").read_bytes()) == kept


def test_invalid_survey_arguments_are_reported(vivid: Path, dataset: Path, tmp_path: Path) -> None:
    alike = like_everyday(tmp_path / "alike", "alike", 1)
    shutil.copy(EVERYDAY / "manifest.json", alike)
    text = (alike / "manifest.json").read_text()
    (alike / "manifest.json").write_text(text.replace('"name": "everyday"', '"name": "alike"'))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "survey.json").write_text("[]")
    for arguments, message in (
        ((EVERYDAY,), "1 bundles cannot be compared"),
        ((EVERYDAY, vivid, "--natural", "13"), "has only 12 pictures"),
        ((EVERYDAY, alike, "--category", "cat"), "12 were colorized alike"),
        ((EVERYDAY, EVERYDAY), "is given twice"),
        ((EVERYDAY, vivid, "--key", tmp_path / "out" / "key.json"), "would lie in the folder that is served"),
        ((EVERYDAY, vivid, "--category", "cat", "--category", "dragon"), "--category dragon is not in the data"),
        ((EVERYDAY, vivid, "--out", tmp_path / "precious"), "is no survey"),
    ):
        with pytest.raises(DataError, match=message):
            run("survey", "build", "--data", dataset, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def voting(survey: Path, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(survey=survey, data_dir=tmp_path, jobs=False))) as client:
        yield client


def get_questions(voting: TestClient, voter: str = VOTER) -> dict[str, Any]:
    response = voting.get("/survey/questions", headers={"X-Survey-Voter": voter})
    assert response.status_code == 200, response.text
    return dict(response.json())


def vote(voting: TestClient, question: str, choice: str, voter: str = VOTER) -> Any:
    return voting.post("/survey/votes", json={"question": question, "choice": choice}, headers={"X-Survey-Voter": voter})


def test_each_voter_has_own_stable_order(voting: TestClient, key: Key) -> None:
    orders, seen = set(), Counter[str]()
    for number in range(60):
        questions = get_questions(voting, f"{number:032x}")["questions"]
        orders.add(str(questions))
        for question in questions:
            if question["kind"] == "real":
                (picture,) = question["pictures"]
                seen[key[question["id"]]["pictures"][picture]] += 1
            else:
                assert len(question["pictures"]) == 3
    assert len(orders) == 60
    assert set(seen) == {"truth", "everyday", "vivid", "pale"}
    assert min(seen.values()) > 30  # of 240: each as often as the others
    assert get_questions(voting) == get_questions(voting)


def test_only_first_vote_counts(voting: TestClient) -> None:
    question = next(each for each in get_questions(voting)["questions"] if each["kind"] == "natural")
    assert [vote(voting, question["id"], question["pictures"][0]).status_code for _ in range(2)] == [204, 204]
    other = vote(voting, question["id"], question["pictures"][1])
    assert (other.status_code, other.json()["type"]) == (409, "urn:chromaroute:problem:already-voted")
    left = get_questions(voting)
    assert (left["total"], len(left["questions"])) == (8, 7)
    assert question["id"] not in [each["id"] for each in left["questions"]]


def test_picture_headers_reveal_nothing(voting: TestClient, survey: Path) -> None:
    name = next(survey.glob("*.jpg")).name
    found = voting.get(f"/survey/pictures/{name}")
    assert found.content == (survey / name).read_bytes()
    assert {"etag", "last-modified"}.isdisjoint(found.headers)
    assert voting.get("/survey").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "voter", "status", "kind"),
    [
        ({"choice": "none"}, VOTER, 422, "bad-vote"),
        ({"question": "0" * 16}, VOTER, 404, "not-found"),
        ({}, "me", 422, "bad-request"),
        ({"comment": "nice"}, VOTER, 422, "bad-request"),
        ({"comment": "x" * 5000}, VOTER, 413, "too-large"),
    ],
)
def test_invalid_vote_is_rejected(voting: TestClient, body: dict[str, str], voter: str, status: int, kind: str) -> None:
    question = get_questions(voting)["questions"][0]
    choice = question["pictures"][0] if question["kind"] == "natural" else "real"
    response = voting.post(
        "/survey/votes", json={"question": question["id"], "choice": choice, **body}, headers={"X-Survey-Voter": voter}
    )
    assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
    for name in ("survey.json", "survey.key.json", "..%2Fsurvey.key.json"):
        assert voting.get(f"/survey/pictures/{name}").status_code == 404


def test_votes_are_rate_limited_and_locked_database_is_reported(
    voting: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.survey.store.LOCK_TIMEOUT", 0.1)
    question = next(each for each in get_questions(voting)["questions"] if each["kind"] == "real")["id"]
    (votes,) = tmp_path.glob("surveys/*.sqlite")
    with closing(sqlite3.connect(votes)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert vote(voting, question, "real").json()["type"].endswith("busy")
    monkeypatch.setattr("app.survey.store.VOTES_PER_MINUTE", 5)
    codes = [vote(voting, question, "real", f"{number:032x}").status_code for number in range(8)]
    assert codes[0] == 204
    assert codes[-1] == 503


def test_invalid_survey_folder_is_rejected(survey: Path, tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match="make one with chromaroute-train survey build"):
        Survey(tmp_path, tmp_path)
    shutil.copytree(survey, tmp_path / "copy")
    next((tmp_path / "copy").glob("*.jpg")).unlink()
    with pytest.raises(SurveyError, match="is no survey that can be served"):
        Survey(tmp_path / "copy", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SurveyError, match="choose another CHROMAROUTE_DATA_DIR"):
        Survey(survey, tmp_path / "file")


def test_survey_is_404_if_not_configured(client: TestClient) -> None:
    assert client.get("/survey").status_code == 404


@pytest.fixture(scope="module")
def server(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("service"), "--survey", str(survey), jobs=0) as server:
        yield server


def prefers(voter: int, shown: dict[str, str], kind: str) -> str:
    """The scripted taste: 14 of 20 like everyday best, 4 vivid, 2 pale; 16 know the truth, 5 are deceived."""
    if kind == "natural":
        liked = "everyday" if voter < 14 else "vivid" if voter < 18 else "pale"
        return next(name for name, candidate in shown.items() if candidate == liked)
    (candidate,) = shown.values()
    deceived = voter % 5 != 0 if candidate == "truth" else voter % 4 == 0
    return "real" if deceived else "colorized"


def answer_questions(page: Page, voter: int, key: Key, count: int, keyboard: bool) -> Counter[tuple[str, str]]:
    """Answer so many questions, by the pictures that are shown; returns what was votes_given of which candidate."""
    votes_given = Counter[tuple[str, str]]()
    for _ in range(count):
        expect(page.locator("#ask")).to_be_visible()
        status = page.inner_text("#status")
        names = [source.rpartition("/")[2] for source in page.locator("#choices img").evaluate_all("all => all.map((i) => i.src)")]
        kind = "natural" if page.locator("#choices.natural").count() else "real"
        question = next(each for each in key.values() if each["kind"] == kind and set(names) <= set(each["pictures"]))
        shown = {name: question["pictures"][name] for name in names}
        choice = prefers(voter, shown, kind)
        votes_given[shown[names[0]] if kind == "real" else shown[choice], choice if kind == "real" else kind] += 1
        if keyboard:
            page.keyboard.press("rm"[["real", "colorized"].index(choice)] if kind == "real" else "abc"[names.index(choice)])
            page.keyboard.press("Enter")
        else:
            page.locator("#choices button").first.click()  # and then another mind
            page.locator(f'[data-choice="{choice}"]').click()
            page.get_by_role("button", name="Next").dblclick()
        expect(page.locator("#status")).not_to_have_text(status)
        expect(page.locator("#status")).not_to_have_text("The pictures are coming.")
    return votes_given


def test_tally_of_twenty_scripted_voters(
    browser: Browser, server: Server, survey: Path, key: Key, tmp_path: Path
) -> None:
    orders, votes_given = set(), Counter[tuple[str, str]]()
    for voter in range(20):
        context = browser.new_context(viewport={"width": 360 if voter % 2 else 1200, "height": 740})
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))  # type: ignore[misc]
        page.on(
            "request", lambda request, wrong=wrong: None if request.url.startswith(server.address) else wrong.append(request.url)
        )  # type: ignore[misc]
        page.goto(f"{server.address}/survey")
        expect(page.locator("#status")).to_have_text("1 of 8")
        orders.add(page.locator("#choices img").first.get_attribute("src"))
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
        if voter < 2:
            serious = [
                found["id"] for found in Axe().run(page).response["violations"] if found["impact"] in ("serious", "critical")
            ]
            assert serious == []
        votes_given += answer_questions(page, voter, key, 3, keyboard=voter % 3 == 0)
        page.close()
        page = context.new_page()  # later, in the same browser
        page.goto(f"{server.address}/survey")
        expect(page.locator("#status")).to_have_text("4 of 8")
        votes_given += answer_questions(page, voter, key, 5, keyboard=voter % 3 == 1)
        expect(page.locator("#status")).to_contain_text("thank you")
        assert context.cookies() == []
        context.close()
        assert wrong == []
    assert len(orders) > 4
    (votes,) = server.log.parent.glob("data/surveys/*.sqlite")
    found = tally(survey.with_name("survey.key.json"), votes)
    assert (found["people"], found["finished"], found["votes"], found["left_out"], found["not_voted_on"]) == (20, 20, 160, {}, 0)
    natural = found["natural"]["all"]["candidates"]
    assert {name: each["votes"] for name, each in natural.items()} == {"everyday": 56, "vivid": 16, "pale": 8}
    assert {name: (each["wins"], each["losses"]) for name, each in natural.items()} == {
        "everyday": (4, 0),
        "vivid": (0, 0),
        "pale": (0, 4),
    }
    assert (natural["vivid"]["mean"], natural["vivid"]["sd"]) == (20, 0)
    value, low, high = natural["everyday"]["share"]
    assert value == 0.7
    assert 0.45 < low < 0.7 < high < 0.95  # as wide as twenty people are, and not as eighty votes
    assert found["natural"]["by_category"]["cat"]["candidates"]["everyday"]["votes"] == 14
    assert sum(found["natural"]["all"]["by_position"]) == 80
    for name, each in found["real"]["all"]["candidates"].items():
        assert each["votes"] == votes_given[name, "real"] + votes_given[name, "colorized"]
        assert each["called_real"][0] == pytest.approx(votes_given[name, "real"] / each["votes"], abs=1e-4)
    printed = run("survey", "tally", survey, "--votes", votes, "--out", tmp_path / "tally.json")
    assert "160 votes of 20 people on 8 questions; 20 answered all" in printed
    assert json.loads((tmp_path / "tally.json").read_text()) == found


def test_missing_picture_blocks_voting_and_next_person_starts_new(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.route("**/survey/pictures/*", lambda route: route.abort())
    page.goto(f"{server.address}/survey")
    expect(page.locator("#status")).to_contain_text("a picture did not come")
    expect(page.locator("#ask")).to_be_hidden()
    page.unroute("**/survey/pictures/*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#status")).to_have_text("1 of 8")
    for place in range(8):
        expect(page.locator("#status")).to_have_text(f"{place + 1} of 8")
        page.locator("#choices button").first.click()
        page.locator("#next").click()
    page.get_by_role("button", name="Someone else").click()
    expect(page.locator("#status")).to_have_text("1 of 8")
    page.close()


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
    found = tally(survey.with_name("survey.key.json"), votes)
    assert (found["votes"], found["not_voted_on"]) == (1, 7)
    assert found["left_out"] == {"of a question that the key does not have": 1, "for something that was not shown": 1}
    with serving(tmp_path, "--survey", str(survey), jobs=0) as server:
        left = httpx.get(f"{server.address}/survey/questions", headers={"X-Survey-Voter": VOTER}).json()["questions"]
        assert question["id"] not in [each["id"] for each in left]


def test_unreadable_votes_and_keys_are_reported(survey: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    for key, votes, message in (
        (survey / "survey.json", tmp_path / "broken.sqlite", "is no key of a survey"),
        (survey.with_name("survey.key.json"), tmp_path / "nowhere.sqlite", "there are no votes in"),
        (survey.with_name("survey.key.json"), tmp_path / "broken.sqlite", "cannot be read"),
    ):
        with pytest.raises(Exception, match=message):
            tally(key, votes)
