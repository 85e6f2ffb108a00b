"""The decision record: how a picture was routed, and which experts colorized it."""

from collections.abc import Iterator
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
    timings_ms: dict[str, float] = Field(description="milliseconds by stage")

    def with_earlier_stages(self, watch: Stopwatch) -> "Decision":
        """The same record with the stages that `watch` measured before."""
        return self.model_copy(update={"timings_ms": {**watch.timings, **self.timings_ms}})
