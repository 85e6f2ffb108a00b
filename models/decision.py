"""The decision record: how a picture was routed, and which experts colorized it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from pydantic import BaseModel, ConfigDict, Field

from models.router import Reason


@dataclass
class Stopwatch:
    """Measures stages in milliseconds."""

    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block."""
        start = perf_counter()
        yield
        self.timings[name] = round(1000 * (perf_counter() - start), 2)


class Candidate(BaseModel):
    """A category and its probability."""

    category: str
    probability: float


class ExpertShare(BaseModel):
    """An expert and its weight in the blend."""

    name: str
    weight: float


class Decision(BaseModel):
    """The decision record of one picture."""

    model_config = ConfigDict(frozen=True)

    category: str = Field(description="the category that the threshold rule chose, or that was requested")
    confidence: float = Field(description="the probability that the threshold rule compared, 0 to 1")
    fell_back: bool = Field(description="whether the rule chose the fallback; a soft route is blended by probability even then")
    reason: Reason = Field(description="how the category was chosen")
    threshold: float = Field(description="the minimum confidence that was applied, 0 to 1")
    top: list[Candidate] = Field(description="up to five categories, most probable first")
    experts: list[ExpertShare] = Field(description="the experts that colorize the picture, and their weights")
    bundle: str = Field(description="name and digest of the bundle")
    working_size: int = Field(description="short side in pixels at which the networks see the picture, whatever its own size")
    page: int = Field(1, description="the page of the file that this record is about, from 1")
    page_count: int = Field(1, description="pages of the file")
    hints: int = Field(0, description="hints that were applied")
    notes: list[str] = Field([], description="what of the file is not in the output, and how unusual levels were read")
    other_pages: list["Decision"] = Field([], description="the records of the other pages, if the output has several")
    timings_ms: dict[str, float] = Field(description="milliseconds by stage")

    def with_earlier_stages(self, watch: Stopwatch) -> "Decision":
        """The same record with the stages that `watch` measured before."""
        return self.model_copy(update={"timings_ms": {**watch.timings, **self.timings_ms}})

    def with_later_stages(self, watch: Stopwatch) -> "Decision":
        """The same record with the stages that `watch` measured after."""
        return self.model_copy(update={"timings_ms": {**self.timings_ms, **watch.timings}})

    def with_file(self, page: int, page_count: int, notes: Iterable[str]) -> "Decision":
        """The same record with what is known of the file."""
        return self.model_copy(update={"page": page, "page_count": page_count, "notes": [*self.notes, *notes]})

    def with_other_pages(self, others: Sequence["Decision"]) -> "Decision":
        """The record of the first page of an output with several; the timings are their sums."""
        timings = {
            stage: round(sum(one.timings_ms.get(stage, 0) for one in (self, *others)), 2)
            for stage in dict.fromkeys(stage for one in (self, *others) for stage in one.timings_ms)
        }
        return self.model_copy(update={"other_pages": list(others), "timings_ms": timings})
