"""A blind survey: questions out of a folder that `chromaroute-train survey build` made, and votes in a SQLite file.

The folder has `survey.json` and pictures whose names say nothing; which bundle painted which is in a key file that does not belong
here. A person is a random number that their browser keeps: no account, no cookie, no address. Everybody gets the questions, and the
pictures of each, in an order of their own, always the same one, so that they can go on where they stopped.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import ServiceError
from models.errors import ChromarouteError

CARD = "survey.json"
ANSWERS = ("real", "coloured")  # to a question of the kind `real`
VOTES_PER_MINUTE = 1200  # of all people together: a hall full of them, and a bound for a script
MOST_PAGES = 65_536  # of 4 KiB in the file of votes: some two million
WAIT = 3.0  # seconds for another process that writes

_TABLE = """CREATE TABLE IF NOT EXISTS votes (
    voter TEXT NOT NULL, question TEXT NOT NULL, shown TEXT NOT NULL, choice TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (voter, question)
) WITHOUT ROWID"""


class SurveyError(ChromarouteError):
    """A survey that cannot be served."""


class Question(BaseModel):
    """`natural`: which of these pictures looks most natural? `real`: is this one a real colour photograph, or coloured?"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    kind: Literal["natural", "real"]
    pictures: tuple[str, ...] = Field(min_length=1, description="all that belong to it; of `real`, a person sees one")

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be voted for."""
        return self.pictures if self.kind == "natural" else ANSWERS


class SurveyCard(BaseModel):
    """`survey.json`: what is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    title: str
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "SurveyCard":
        if len({question.id for question in self.questions}) < len(self.questions):
            raise ValueError("a question is there twice")
        return self


class Survey:
    """A survey that is served, from memory: what happens to the folder changes nothing before the next start.

    Args:
        folder: with `survey.json` and the pictures.
        data_dir: votes are kept in `surveys/ID.sqlite` under it; several processes may share the file.

    Raises:
        SurveyError: the folder is no survey, or lacks pictures, or votes cannot be kept.
    """

    def __init__(self, folder: Path, data_dir: Path) -> None:
        try:
            self.card = SurveyCard.model_validate_json((folder / CARD).read_bytes())
            names = {name for question in self.card.questions for name in question.pictures}
            self.pictures = {name: (folder / Path(name).name).read_bytes() for name in names}
        except (OSError, ValidationError) as error:
            raise SurveyError(
                f"{folder} is no survey that can be served ({error}): make one with chromaroute-train survey build."
            ) from error
        self.questions = {question.id: question for question in self.card.questions}
        self.votes = data_dir / "surveys" / f"{self.card.id}.sqlite"
        self._rate = MovingWindowRateLimiter(MemoryStorage())
        try:
            self.votes.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise SurveyError(f"votes cannot be kept in {self.votes} ({error}): choose another CHROMAROUTE_DATA_DIR.") from error

    def asked(self, voter: str) -> list[Question]:
        """The questions that this person has not answered, in their order, each with the pictures that they see, in theirs.

        Raises:
            ServiceError: the votes cannot be read now (`busy`).
        """
        with self._transaction() as database:
            answered = {question for (question,) in database.execute("SELECT question FROM votes WHERE voter = ?", (voter,))}
        order = random.Random(f"{self.card.id} {voter}")
        questions = order.sample(self.card.questions, len(self.card.questions))
        shown = [question.model_copy(update={"pictures": self._shown(voter, question)}) for question in questions]
        return [question for question in shown if question.id not in answered]

    def vote(self, voter: str, question: str, choice: str) -> None:
        """Store a vote, on the disk when this returns. The same vote again changes nothing.

        Raises:
            ServiceError: there is no such question (`not-found`) or choice (`bad-vote`), it was answered before (`voted`), or the
                vote cannot be stored now (`busy`) or at all (`no-room`).
        """
        if (asked := self.questions.get(question)) is None:
            raise ServiceError("not-found", f"there is no question {question!r} in this survey.")
        if choice not in asked.choices:
            raise ServiceError("bad-vote", f"choice is {choice!r}: give one of {', '.join(asked.choices)}.")
        if not self._rate.hit(RateLimitItemPerMinute(VOTES_PER_MINUTE), "votes"):
            raise ServiceError("busy", f"more than {VOTES_PER_MINUTE} votes came in a minute: try again soon.", retry_after=5)
        with self._transaction() as database:
            row = (voter, question, " ".join(self._shown(voter, asked)), choice, datetime.now(UTC).isoformat(timespec="seconds"))
            database.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            kept = "SELECT choice FROM votes WHERE voter = ? AND question = ?"
            (first,) = database.execute(kept, (voter, question)).fetchone()
        if first != choice:
            raise ServiceError("voted", "this question was answered before, and the first answer counts.")

    def _shown(self, voter: str, question: Question) -> tuple[str, ...]:
        """The pictures in this person's order; of a question of the kind `real` one of them, each as likely as the others."""
        order = random.Random(f"{self.card.id} {voter} {question.id}")
        return tuple(order.sample(question.pictures, len(question.pictures) if question.kind == "natural" else 1))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._open() as database:
                yield database
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise ServiceError("no-room", "there is no room for more votes.") from error
            raise ServiceError("busy", "the votes are in use: try again after 1 second.", retry_after=1) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction, which is on the disk when it ends."""
        database = sqlite3.connect(self.votes, timeout=WAIT)
        try:
            database.execute("PRAGMA synchronous=FULL")
            database.execute(f"PRAGMA max_page_count={MOST_PAGES}")
            with database:
                yield database
        finally:
            database.close()
