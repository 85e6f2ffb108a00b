"""Counting a survey: paper 004's tables 1 and 2, also by class, and fooling rates; a person's votes belong together."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, stdev
from typing import Any

import numpy as np

from training.data.dataset_index import DataError
from training.evaluation.evaluate import plain
from training.metrics.bootstrap import Bootstrap
from training.survey.build import TRUTH

ANSWERS = ("real", "colorized")
COLUMNS = ("voter", "question", "shown", "choice", "at")


@dataclass(frozen=True)
class Vote:
    """An answer, with what the key says of it.

    `chosen` is a candidate, or `real` or `colorized` of the one that was `seen`; `position` is the chosen one's place, from 0.
    """

    voter: str
    question: str
    category: str
    kind: str
    seen: str
    chosen: str
    position: int


def tally(key: Path, votes: Path) -> dict[str, Any]:
    """Everything that was voted, as plain values; intervals are `[value, low, high]`.

    `natural`: for all categories and each, the questions that were voted on, the votes by the place of what was chosen, and by
    candidate: votes, their share with its interval, wins and losses (questions in which it has the most and the fewest votes; those
    that are level count for all of them), mean and SD of its percentages over questions. `real`: by candidate and for the truth,
    how often it was called real. `left_out`: votes that do not belong to the key, by reason; `not_voted_on`: questions without a
    vote. Votes of people who did not finish count.

    Raises:
        DataError: key or votes cannot be read.
    """
    sealed = _key(key)
    questions = sealed["questions"]
    rows = _rows(votes)
    counted, left_out = _understood(rows, questions)
    people = Counter(vote.voter for vote in counted)
    categories = sorted({question["category"] for question in questions.values()})
    found: dict[str, Any] = {
        "survey": sealed["survey"],
        "bundles": sealed["bundles"],
        "people": len(people),
        "finished": sum(count == len(questions) for count in people.values()),
        "questions": len(questions),
        "painted_alike": len(sealed["painted_alike"]),
        "not_voted_on": len(set(questions) - {vote.question for vote in counted}),
        "votes": len(counted),
        "minutes": _minutes(rows, len(questions)),
        "left_out": dict(left_out),
    }
    for kind, count in (("natural", _natural), ("real", _real)):
        asked = {name: tuple(each["pictures"].values()) for name, each in questions.items() if each["kind"] == kind}
        own = [vote for vote in counted if vote.kind == kind]
        by_category = {}
        for name in categories:
            there = {question: shown for question, shown in asked.items() if questions[question]["category"] == name}
            by_category[name] = count([vote for vote in own if vote.category == name], there)
        found[kind] = {"all": count(own, asked), "by_category": {name: each for name, each in by_category.items() if each}}
    return found


def _natural(votes: Sequence[Vote], asked: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    candidates = sorted({name for shown in asked.values() for name in shown})
    if not votes:
        return {}
    people = _numbered(vote.voter for vote in votes)
    by_question: dict[str, Counter[str]] = {}
    for vote in votes:
        by_question.setdefault(vote.question, Counter(dict.fromkeys(asked[vote.question], 0)))[vote.chosen] += 1
    shares = {name: [100 * each[name] / each.total() for each in by_question.values() if name in each] for name in candidates}
    positions = Counter(vote.position for vote in votes)
    return {
        "questions": len(by_question),
        "by_position": [positions[place] for place in range(max(positions) + 1)],
        "candidates": {
            name: {
                "votes": sum(vote.chosen == name for vote in votes),
                "share": _share([vote.chosen == name for vote in votes], people),
                "wins": sum(each[name] == max(each.values()) for each in by_question.values() if name in each),
                "losses": sum(each[name] == min(each.values()) for each in by_question.values() if name in each),
                "mean": round(sum(shares[name]) / len(shares[name]), 3) if shares[name] else None,
                "sd": round(stdev(shares[name]), 3) if len(shares[name]) > 1 else None,
            }
            for name in candidates
        },
    }


def _real(votes: Sequence[Vote], asked: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if not votes:
        return {}
    found = {}
    for name in sorted({name for shown in asked.values() for name in shown}, key=lambda name: (name == TRUTH, name)):
        own = [vote for vote in votes if vote.seen == name]
        called = _share([vote.chosen == "real" for vote in own], _numbered(vote.voter for vote in own)) if own else None
        found[name] = {"votes": len(own), "called_real": called}
    return {"questions": len({vote.question for vote in votes}), "candidates": found}


def _share(flags: Sequence[bool], people: Sequence[int]) -> list[float]:
    """A share of votes and its interval, over people, whose votes belong together."""
    return list(plain(Bootstrap(len(flags), np.array(people)).share(np.array(flags))))


def _numbered(names: Iterable[str]) -> list[int]:
    """Each name as a whole number."""
    known: dict[str, int] = {}
    return [known.setdefault(name, len(known)) for name in names]


def _key(path: Path) -> dict[str, Any]:
    try:
        sealed = json.loads(path.read_bytes())
        _ = sealed["survey"], sealed["bundles"], sealed["questions"], sealed["painted_alike"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no key of a survey ({error!r}): `survey build` wrote it beside the survey's folder.") from error
    return dict(sealed)


def _rows(path: Path) -> list[tuple[str, ...]]:
    if not path.is_file():
        raise DataError(
            f"there are no votes in {path}: the server keeps them in CHROMAROUTE_DATA_DIR/surveys; name the file with --votes."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return list(database.execute(f"SELECT {', '.join(COLUMNS)} FROM votes ORDER BY voter, at"))
    except sqlite3.Error as error:
        raise DataError(f"the votes in {path} cannot be read: {error}.") from error


def _understood(rows: Sequence[tuple[str, ...]], questions: Mapping[str, Any]) -> tuple[list[Vote], Counter[str]]:
    votes, left_out = [], Counter[str]()
    for voter, question, shown, choice, _ in rows:
        asked = questions.get(question)
        if asked is None:
            left_out["of a question that the key does not have"] += 1
            continue
        seen = shown.split()
        natural = asked["kind"] == "natural"
        if not set(seen) <= set(asked["pictures"]) or choice not in (seen if natural else ANSWERS):
            left_out["for something that was not shown"] += 1
            continue
        chosen = asked["pictures"][choice] if natural else choice
        position = seen.index(choice) if natural else 0
        votes.append(Vote(voter, question, asked["category"], asked["kind"], asked["pictures"][seen[0]], chosen, position))
    return votes, left_out


def _minutes(rows: Sequence[tuple[str, ...]], questions: int) -> float | None:
    """The median time from first to last answer, of those who answered everything."""
    times: dict[str, list[datetime]] = {}
    for voter, *_, at in rows:
        times.setdefault(voter, []).append(datetime.fromisoformat(at))
    spent = [(max(each) - min(each)).total_seconds() / 60 for each in times.values() if len(each) == questions]
    return round(median(spent), 2) if spent else None
