"""Scripted voters answer a survey in chromium, and their votes are counted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.helpers import serious_violations
from tests.app.survey.bundles import Key
from tests.cli_runner import invoke
from tests.server_process import Server, serving
from training.survey.results import Tally
from training.survey.tally import tally

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("service"), "--survey", str(survey), jobs=0) as server:
        yield server


def scripted_choice(voter: int, shown: dict[str, str], kind: str) -> str:
    """14 of 20 voters prefer everyday, 4 vivid, 2 pale; 16 recognize a photograph, and 5 call a colorized picture real."""
    if kind == "natural":
        preferred = "everyday" if voter < 14 else "vivid" if voter < 18 else "pale"
        return next(name for name, candidate in shown.items() if candidate == preferred)
    (candidate,) = shown.values()
    called_real = voter % 5 != 0 if candidate == "truth" else voter % 4 == 0
    return "real" if called_real else "colorized"


def answer_questions(page: Page, voter: int, key: Key, count: int, keyboard: bool) -> Counter[tuple[str, str]]:
    """Answer `count` questions; returns the votes by candidate and choice."""
    votes_given = Counter[tuple[str, str]]()
    for _ in range(count):
        expect(page.locator("#ask")).to_be_visible()
        status = page.inner_text("#status")
        names = [source.rpartition("/")[2] for source in page.locator("#choices img").evaluate_all("all => all.map((i) => i.src)")]
        kind = "natural" if page.locator("#choices.natural").count() else "real"
        question = next(each for each in key.values() if each["kind"] == kind and set(names) <= set(each["pictures"]))
        shown = {name: question["pictures"][name] for name in names}
        choice = scripted_choice(voter, shown, kind)
        votes_given[shown[names[0]] if kind == "real" else shown[choice], choice if kind == "real" else kind] += 1
        if keyboard:
            page.keyboard.press("rm"[["real", "colorized"].index(choice)] if kind == "real" else "abc"[names.index(choice)])
            page.keyboard.press("Enter")
        else:
            page.locator("#choices button").first.click()  # the choice may be changed
            page.locator(f'[data-choice="{choice}"]').click()
            page.get_by_role("button", name="Next").dblclick()
        expect(page.locator("#status")).not_to_have_text(status)
        expect(page.locator("#status")).not_to_have_text("Loading the pictures.")
    return votes_given


def test_tally_of_twenty_scripted_voters(browser: Browser, server: Server, survey: Path, key: Key, tmp_path: Path) -> None:
    orders, votes_given = set(), Counter[tuple[str, str]]()
    for voter in range(20):
        context = browser.new_context(viewport={"width": 360 if voter % 2 else 1200, "height": 740})
        page = context.new_page()
        errors: list[str] = []
        urls: list[str] = []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))  # type: ignore[misc]
        page.on("request", lambda request, urls=urls: urls.append(request.url))  # type: ignore[misc]
        page.goto(f"{server.address}/survey")
        expect(page.locator("#status")).to_have_text("1 of 8")
        orders.add(page.locator("#choices img").first.get_attribute("src"))
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
        if voter < 2:
            assert serious_violations(page) == []
        votes_given += answer_questions(page, voter, key, 3, keyboard=voter % 3 == 0)
        page.close()
        page = context.new_page()  # the survey continues later in the same browser
        page.goto(f"{server.address}/survey")
        expect(page.locator("#status")).to_have_text("4 of 8")
        votes_given += answer_questions(page, voter, key, 5, keyboard=voter % 3 == 1)
        expect(page.locator("#status")).to_contain_text("Thank you")
        assert context.cookies() == []
        context.close()
        assert errors == []
        assert all(url.startswith(server.address) for url in urls)
    assert len(orders) > 4
    (votes,) = server.log.parent.glob("data/surveys/*.sqlite")
    counts = tally(survey.with_name("survey.key.json"), votes)
    assert (counts.people, counts.finished, counts.votes, counts.left_out, counts.not_voted_on) == (20, 20, 160, {}, 0)
    assert counts.natural.all is not None
    assert counts.real.all is not None
    natural = counts.natural.all.candidates
    assert {name: each.votes for name, each in natural.items()} == {"everyday": 56, "vivid": 16, "pale": 8}
    assert {name: (each.wins, each.losses) for name, each in natural.items()} == {
        "everyday": (4, 0),
        "vivid": (0, 0),
        "pale": (0, 4),
    }
    assert (natural["vivid"].mean, natural["vivid"].sd) == (20, 0)
    value, low, high = natural["everyday"].share
    assert value == 0.7
    assert 0.45 < low < 0.7 < high < 0.95  # the interval is that of 20 people, not of 80 votes
    assert counts.natural.by_category["cat"].candidates["everyday"].votes == 14
    assert sum(counts.natural.all.by_position) == 80
    for name, each in counts.real.all.candidates.items():
        assert each.votes == votes_given[name, "real"] + votes_given[name, "colorized"]
        assert each.called_real is not None
        assert each.called_real.value == pytest.approx(votes_given[name, "real"] / each.votes, abs=1e-4)
    printed = invoke("survey", "tally", survey, "--votes", votes, "--out", tmp_path / "tally.json")
    assert "160 votes of 20 people on 8 questions; 20 people answered all" in printed
    assert Tally.model_validate_json((tmp_path / "tally.json").read_bytes()) == counts


def test_missing_picture_blocks_voting_and_next_person_starts_new(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.route("**/survey/pictures/*", lambda route: route.abort())
    page.goto(f"{server.address}/survey")
    expect(page.locator("#status")).to_contain_text("a picture could not be loaded")
    expect(page.locator("#ask")).to_be_hidden()
    page.unroute("**/survey/pictures/*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#status")).to_have_text("1 of 8")
    for position in range(8):
        expect(page.locator("#status")).to_have_text(f"{position + 1} of 8")
        page.locator("#choices button").first.click()
        page.locator("#next").click()
    page.get_by_role("button", name="Answer as another person").click()
    expect(page.locator("#status")).to_have_text("1 of 8")
    page.close()
