"""A blind survey: the questions of a folder that `chromaroute-train survey build` wrote, and votes in an SQLite file.

The folder contains `survey.json` and pictures with meaningless names; which bundle made which picture is in a key file that stays
with the organizer. A person is identified by a random number that the browser keeps, without account, cookie or address. The order
of the questions, and of the pictures of each, is random for every person but always the same, so that they can continue later.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import ServiceError
from app.rate_limit import RateLimit
from models.errors import ChromarouteError

CARD = "survey.json"
ANSWERS = ("real", "colorized")  # to a question of the kind `real`
VOTES_PER_MINUTE = 1200  # of all people together: enough for a hall full of them, and a limit for scripts
MAX_PAGES = 65_536  # of 4 KiB in the file of votes, which is about two million votes
LOCK_TIMEOUT = 3.0  # seconds to wait for another process that writes

_TABLE = """CREATE TABLE IF NOT EXISTS votes (
    voter TEXT NOT NULL, question TEXT NOT NULL, shown TEXT NOT NULL, choice TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (voter, question)
) WITHOUT ROWID"""


class SurveyError(ChromarouteError):
    """The survey cannot be served."""


class Question(BaseModel):
    """`natural`: which of these pictures looks most natural? `real`: is this a real color photograph, or colorized?"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    kind: Literal["natural", "real"]
    pictures: tuple[str, ...] = Field(min_length=1, description="all pictures of the question; for `real`, a person sees one")

    @property
    def choices(self) -> tuple[str, ...]:
        """The valid answers."""
        return self.pictures if self.kind == "natural" else ANSWERS


class SurveyCard(BaseModel):
    """The content of `survey.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    title: str
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique(self) -> "SurveyCard":
        if len({question.id for question in self.questions}) < len(self.questions):
            raise ValueError("a question occurs twice")
        return self


class Survey:
    """A survey that is served from memory; changes of the folder take effect at the next start.

    Args:
        folder: contains `survey.json` and the pictures.
        data_dir: votes are stored in `surveys/ID.sqlite` below it; several processes may share the file.

    Raises:
        SurveyError: the folder is not a survey, pictures are missing, or votes cannot be stored.
    """

    def __init__(self, folder: Path, data_dir: Path) -> None:
        try:
            self.card = SurveyCard.model_validate_json((folder / CARD).read_bytes())
            names = {name for question in self.card.questions for name in question.pictures}
            self.pictures = {name: (folder / Path(name).name).read_bytes() for name in names}
        except (OSError, ValidationError) as error:
            raise SurveyError(
                f"{folder} is not a survey that can be served ({error}): create one with chromaroute-train survey build."
            ) from error
        self.questions = {question.id: question for question in self.card.questions}
        self.votes = data_dir / "surveys" / f"{self.card.id}.sqlite"
        self._rate = RateLimit()
        try:
            self.votes.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise SurveyError(f"votes cannot be stored in {self.votes} ({error}): set another CHROMAROUTE_DATA_DIR.") from error

    def remaining_questions(self, voter: str) -> list[Question]:
        """The questions that this person has not answered, with the pictures that they see, both in the order for this person.

        Raises:
            ServiceError: the votes cannot be read now (`overloaded`).
        """
        with self._transaction() as database:
            answered = {question for (question,) in database.execute("SELECT question FROM votes WHERE voter = ?", (voter,))}
        order = random.Random(f"{self.card.id} {voter}")
        questions = order.sample(self.card.questions, len(self.card.questions))
        shown = [question.model_copy(update={"pictures": self._shown(voter, question)}) for question in questions]
        return [question for question in shown if question.id not in answered]

    def vote(self, voter: str, question: str, choice: str) -> None:
        """Store a vote; it is on the disk when this returns. Repeating the same vote has no effect.

        Raises:
            ServiceError: there is no such question (`not-found`) or choice (`bad-vote`), the question was answered before
                (`already-voted`), or the vote cannot be stored now (`overloaded`) or at all (`insufficient-storage`).
        """
        if (known := self.questions.get(question)) is None:
            raise ServiceError("not-found", f"there is no question {question!r} in this survey.")
        if choice not in known.choices:
            raise ServiceError("bad-vote", f"choice is {choice!r}: give one of {', '.join(known.choices)}.")
        if self._rate.seconds_to_wait("votes", VOTES_PER_MINUTE):
            detail = f"more than {VOTES_PER_MINUTE} votes were sent in a minute: try again soon."
            raise ServiceError("overloaded", detail, retry_after=5)
        with self._transaction() as database:
            row = (voter, question, " ".join(self._shown(voter, known)), choice, datetime.now(UTC).isoformat(timespec="seconds"))
            database.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            select = "SELECT choice FROM votes WHERE voter = ? AND question = ?"
            (first,) = database.execute(select, (voter, question)).fetchone()
        if first != choice:
            raise ServiceError("already-voted", "this question was answered before, and the first answer counts.")

    def _shown(self, voter: str, question: Question) -> tuple[str, ...]:
        """The pictures in the order for this person; for a question of the kind `real`, one of them, uniformly at random."""
        order = random.Random(f"{self.card.id} {voter} {question.id}")
        return tuple(order.sample(question.pictures, len(question.pictures) if question.kind == "natural" else 1))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._open() as database:
                yield database
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise ServiceError("insufficient-storage", "there is no space for more votes.") from error
            raise ServiceError("overloaded", "the votes are in use: try again after 1 second.", retry_after=1) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction, which is on the disk when it ends."""
        database = sqlite3.connect(self.votes, timeout=LOCK_TIMEOUT)
        try:
            database.execute("PRAGMA synchronous=FULL")
            database.execute(f"PRAGMA max_page_count={MAX_PAGES}")
            with database:
                yield database
        finally:
            database.close()
