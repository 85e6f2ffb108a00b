"""The models of requests and responses, beside the options (`models.options`) and the decision record (`models.decision`)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from models.decision import Decision
from models.errors import OptionError
from models.options import HINTS, MAX_HINTS, Hint, Options, OutputOptions, RouteOptions, read_json
from models.plausible import PlausibleColor
from models.router import TOP

REQUIRED = "x-required"  # in the schema of a query parameter: it is required unless it is in the form

_SHOWN = 10  # names in a message


class ColorizedImage(BaseModel):
    """The response of /v1/colorize if the client accepts JSON."""

    decision: Decision
    media_type: str
    image: str = Field(description="the file in base64")


class Variants(BaseModel):
    """A picture colorized as several categories, most probable first."""

    variants: list[ColorizedImage]


class VariantOptions(RouteOptions):
    """The options of variants of a picture."""

    saturation: float = Options.model_fields["saturation"]  # type: ignore[assignment]
    page: int | None = Options.model_fields["page"]  # type: ignore[assignment]
    count: int = Field(3, ge=1, le=TOP, description="variants, if so many of the most probable categories give different colors")
    long_side: int = Field(640, ge=64, le=2048, description="of the variants in pixels, if the picture is larger")


class PlausibleColors(BaseModel):
    """The colors that a point of a picture may have, most probable first."""

    colors: list[PlausibleColor]
    decision: Decision


class Category(BaseModel):
    """A category that can be requested."""

    name: str
    expert: str = Field(description="the expert that colorizes its pictures")
    fallback: bool = Field(description="whether pictures below the threshold are sent here")


class BundleInfo(BaseModel):
    """The bundle that is served: its label, digest and manifest."""

    bundle: str
    digest: str
    manifest: dict[str, object]


class Status(BaseModel):
    """Whether the service is alive, or ready."""

    status: str


class Problem(BaseModel):
    """An error after RFC 9457. `type` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="the id of the request in the log of the server")
    option: str | None = None
    valid: str | None = None


class ItemRecord(BaseModel):
    """The result of one item of a batch or a job: a decision record or a problem. `decisions.json` is a list of these."""

    name: str = Field(description="of the uploaded file, as it was sent")
    output: str | None = Field(None, description="its name in the ZIP archive")
    decision: Decision | None = None
    problem: Problem | None = None


JobState = Literal["queued", "running", "finished", "cancelled"]
WebhookState = Literal["pending", "delivered", "failed"]


class BatchOptions(OutputOptions):
    """The options of several pictures."""

    hints: Annotated[dict[str, Annotated[tuple[Hint, ...], Field(max_length=MAX_HINTS)]], BeforeValidator(read_json)] = Field(
        {},
        description=f"for each name of a picture that has some: {HINTS}",
    )

    def of(self, name: str) -> Options:
        """Those of the picture of that name."""
        shared = {field: getattr(self, field) for field in OutputOptions.model_fields}
        return Options(**shared, hints=self.hints.get(name, ()))

    def check_names(self, names: Iterable[str]) -> None:
        """Raise an OptionError if there are hints for a name that is not among these."""
        known = tuple(names)
        for name in self.hints:
            if name not in known:
                shown = ", ".join(known[:_SHOWN]) + (" and so on" if len(known) > _SHOWN else "")
                raise OptionError("hints", name, f"the name of a picture that is sent: {shown}")


class JobOptions(BatchOptions):
    """The options of a job."""

    webhook: str | None = Field(
        None, max_length=2000, description="address that is called when the job has ended, in an origin that the server allows"
    )


class JobStatus(BaseModel):
    """The progress of a job."""

    id: str
    state: JobState
    total: int = Field(description="items of the job")
    done: int = Field(description="items that were colorized")
    failed: int = Field(description="items with a problem")
    created: datetime
    expires: datetime | None = Field(None, description="when the results are deleted; set once the job is finished or cancelled")
    webhook: WebhookState | None = Field(None, description="whether the webhook was delivered, if the job has one")


class ItemEvent(BaseModel):
    """The data of a server-sent event about one item of a job. The id of the event is the index of the item."""

    index: int
    record: ItemRecord
