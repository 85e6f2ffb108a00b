"""Counts the votes of a survey: tables 1 and 2 of paper 004, also by category, and fooling rates."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, stdev
from typing import Literal, TypeVar

import numpy as np

from training.data.dataset_index import DataError
from training.metrics.bootstrap import Bootstrap, Estimate
from training.survey.build import TRUTH, KeyEntry, SurveyKey
from training.survey.results import CandidateVotes, FoolingRate, NaturalTally, NaturalVotes, RealTally, RealVotes, Tally

ANSWERS = ("real", "colorized")
COLUMNS = ("voter", "question", "shown", "choice", "at")

Questions = Mapping[str, KeyEntry]
Count = TypeVar("Count")


@dataclass(frozen=True)
class Vote:
    """An answer, together with what the key says about it.

    `chosen` is a candidate, or *real* or *colorized* for the candidate that was `seen`; `position` is that of the chosen picture,
    from 0.
    """

    voter: str
    question: str
    category: str
    kind: str
    seen: str
    chosen: str
    position: int


def tally(key: Path, votes: Path) -> Tally:
    """Count the votes in an SQLite file. Votes of people who did not finish count; those of one person are resampled together.

    Raises:
        DataError: key or votes cannot be read.
    """
    secret = SurveyKey.read(key)
    questions = secret.questions
    rows = _read_rows(votes)
    counted, left_out = _decode(rows, questions)
    per_person = Counter(vote.voter for vote in counted)
    natural, natural_by_category = _by_category("natural", count_natural, counted, questions)
    real, real_by_category = _by_category("real", count_real, counted, questions)
    return Tally(
        survey=secret.survey,
        bundles=secret.bundles,
        people=len(per_person),
        finished=sum(count == len(questions) for count in per_person.values()),
        questions=len(questions),
        not_voted_on=len(set(questions) - {vote.question for vote in counted}),
        colorized_alike=len(secret.colorized_alike),
        votes=len(counted),
        minutes=_median_minutes(rows, len(questions)),
        left_out=dict(left_out),
        natural=NaturalTally(all=natural, by_category=natural_by_category),
        real=RealTally(all=real, by_category=real_by_category),
    )


def count_natural(votes: Sequence[Vote], questions: Questions) -> NaturalVotes | None:
    """The votes on questions for the most natural picture; None without votes."""
    if not votes:
        return None
    by_question: dict[str, Counter[str]] = {}
    for vote in votes:
        candidates = questions[vote.question].pictures.values()
        by_question.setdefault(vote.question, Counter(dict.fromkeys(candidates, 0)))[vote.chosen] += 1
    positions = Counter(vote.position for vote in votes)
    names = sorted({name for question in questions.values() for name in question.pictures.values()})
    return NaturalVotes(
        questions=len(by_question),
        by_position=[positions[index] for index in range(max(positions) + 1)],
        candidates={name: _candidate(name, votes, by_question.values()) for name in names},
    )


def count_real(votes: Sequence[Vote], questions: Questions) -> RealVotes | None:
    """The votes on questions whether a picture is real; None without votes."""
    if not votes:
        return None
    names = {name for question in questions.values() for name in question.pictures.values()}
    candidates = {}
    for name in sorted(names, key=lambda name: (name == TRUTH, name)):
        own = [vote for vote in votes if vote.seen == name]
        candidates[name] = FoolingRate(
            votes=len(own), called_real=_share([vote.chosen == "real" for vote in own], own) if own else None
        )
    return RealVotes(questions=len({vote.question for vote in votes}), candidates=candidates)


def _by_category(
    kind: Literal["natural", "real"],
    count: Callable[[Sequence[Vote], Questions], Count | None],
    votes: Sequence[Vote],
    questions: Questions,
) -> tuple[Count | None, dict[str, Count]]:
    """The counts of one kind of question, over all and by category."""
    asked = {id_: question for id_, question in questions.items() if question.kind == kind}
    own = [vote for vote in votes if vote.kind == kind]
    by_category = {}
    for name in sorted({question.category for question in asked.values()}):
        in_category = {id_: question for id_, question in asked.items() if question.category == name}
        counts = count([vote for vote in own if vote.category == name], in_category)
        if counts is not None:
            by_category[name] = counts
    return count(own, asked), by_category


def _candidate(name: str, votes: Sequence[Vote], by_question: Iterable[Counter[str]]) -> CandidateVotes:
    shown = [counts for counts in by_question if name in counts]
    percentages = [100 * counts[name] / counts.total() for counts in shown]
    return CandidateVotes(
        votes=sum(vote.chosen == name for vote in votes),
        share=_share([vote.chosen == name for vote in votes], votes),
        wins=sum(counts[name] == max(counts.values()) for counts in shown),
        losses=sum(counts[name] == min(counts.values()) for counts in shown),
        mean=round(sum(percentages) / len(percentages), 3) if percentages else None,
        sd=round(stdev(percentages), 3) if len(percentages) > 1 else None,
    )


def _share(flags: Sequence[bool], votes: Sequence[Vote]) -> Estimate:
    """The share of votes with a flag, with an interval over people."""
    people = np.unique([vote.voter for vote in votes], return_inverse=True)[1]
    share = Bootstrap(len(flags), people).share(np.array(flags))
    return Estimate(*(None if value is None else round(value, 5) for value in share))


def _read_rows(path: Path) -> list[tuple[str, ...]]:
    if not path.is_file():
        raise DataError(
            f"there are no votes in {path}: the server stores them in CHROMAROUTE_DATA_DIR/surveys; give the file with --votes."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return list(database.execute(f"SELECT {', '.join(COLUMNS)} FROM votes ORDER BY voter, at"))
    except sqlite3.Error as error:
        raise DataError(f"the votes in {path} cannot be read: {error}.") from error


def _decode(rows: Sequence[tuple[str, ...]], questions: Questions) -> tuple[list[Vote], Counter[str]]:
    votes, left_out = [], Counter[str]()
    for voter, id_, shown, choice, _ in rows:
        question = questions.get(id_)
        if question is None:
            left_out["on questions that are not in the key"] += 1
            continue
        seen = shown.split()
        is_natural = question.kind == "natural"
        if not set(seen) <= set(question.pictures) or choice not in (seen if is_natural else ANSWERS):
            left_out["for pictures that were not shown"] += 1
            continue
        chosen = question.pictures[choice] if is_natural else choice
        position = seen.index(choice) if is_natural else 0
        votes.append(Vote(voter, id_, question.category, question.kind, question.pictures[seen[0]], chosen, position))
    return votes, left_out


def _median_minutes(rows: Sequence[tuple[str, ...]], questions: int) -> float | None:
    """The median time from the first to the last answer, of those who answered everything."""
    times: dict[str, list[datetime]] = {}
    for voter, *_, at in rows:
        times.setdefault(voter, []).append(datetime.fromisoformat(at))
    minutes = [(max(own) - min(own)).total_seconds() / 60 for own in times.values() if len(own) == questions]
    return round(median(minutes), 2) if minutes else None
