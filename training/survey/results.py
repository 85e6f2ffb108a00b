"""The result of a survey."""

from training.evaluation.results import Result
from training.metrics.bootstrap import Estimate


class CandidateVotes(Result):
    """The votes for the pictures of a bundle, in questions for the most natural one.

    `share` is that of all votes. `wins` and `losses` are the questions in which the candidate has the most and the fewest votes; a
    tie counts for all of its candidates. `mean` and `sd` are those of its percentages over questions.
    """

    votes: int
    share: Estimate
    wins: int
    losses: int
    mean: float | None
    sd: float | None


class NaturalVotes(Result):
    """Questions for the most natural picture: `by_position` counts votes by the position of the chosen picture, from the first."""

    questions: int
    by_position: list[int]
    candidates: dict[str, CandidateVotes]


class FoolingRate(Result):
    """How often the pictures of a bundle, or true photographs, were called real; None without votes."""

    votes: int
    called_real: Estimate | None


class RealVotes(Result):
    """Questions whether a picture is real or colorized."""

    questions: int
    candidates: dict[str, FoolingRate]


class NaturalTally(Result):
    """Over all questions for the most natural picture, and by category; None and empty without votes."""

    all: NaturalVotes | None
    by_category: dict[str, NaturalVotes]


class RealTally(Result):
    """Over all questions whether a picture is real, and by category; None and empty without votes."""

    all: RealVotes | None
    by_category: dict[str, RealVotes]


class Tally(Result):
    """All counts of a survey.

    Args:
        survey: its id.
        bundles: their labels, by name.
        people: number of participants who voted at least once.
        finished: number of participants who answered all questions.
        questions: of the survey.
        not_voted_on: questions without a vote.
        colorized_alike: pictures that were skipped because two bundles colorize them in the same way.
        votes: that are counted.
        minutes: median time from the first to the last answer of those who answered everything; None if nobody did.
        left_out: votes that do not belong to the key, by reason.
        natural: questions for the most natural picture.
        real: questions whether a picture is real.
    """

    survey: str
    bundles: dict[str, str]
    people: int
    finished: int
    questions: int
    not_voted_on: int
    colorized_alike: int
    votes: int
    minutes: float | None
    left_out: dict[str, int]
    natural: NaturalTally
    real: RealTally
