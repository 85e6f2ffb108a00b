"""What goes over the wire, beside the decision record, which is `models.ensemble.Decision`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.ensemble import Decision, Options
from models.imaging import WRITES
from models.metadata import Keeping

VALID_OPTIONS = {
    "category": "auto, or a category of GET /v1/categories",
    "routing": "hard or soft",
    "threshold": "a number from 0 to 1",
    "format": "one of auto, " + ", ".join(WRITES),
    "quality": "a whole number from 1 to 100",
    "saturation": "a number from 0 to 2",
    "metadata": "one of keep, strip, keep-gps",
}

Format = Literal["auto", "jpeg", "png", "webp", "tiff"]


class RouteQuery(BaseModel):
    """The options that decide the route."""

    model_config = ConfigDict(extra="forbid")

    category: str = Field("auto", description="`auto` lets the router choose; or a category of /v1/categories")
    routing: Literal["hard", "soft"] = Field("hard", description="`soft` blends the experts of the likeliest categories")
    threshold: float | None = Field(None, ge=0, le=1, description="least confidence; the bundle's own if not given")

    def options(self) -> Options:
        """As the ensemble takes them."""
        chosen = None if self.category == "auto" else self.category
        return Options(category=chosen, soft=self.routing == "soft", threshold=self.threshold)


class ColorizeQuery(RouteQuery):
    """The options of a picture in colour."""

    format: Format = Field("auto", description="`auto` is the upload's own, or PNG for BMP and GIF")
    quality: int = Field(90, ge=1, le=100, description="of JPEG and WebP")
    saturation: float = Field(1.0, ge=0, le=2, description="0 is grey, 1 as the expert painted it")
    metadata: Keeping = Field(
        "keep",
        description="EXIF, XMP, captions: `keep` all but a GPS position, `strip`, or `keep-gps`; the resolution is always kept",
    )

    def options(self) -> Options:
        """As the ensemble takes them."""
        route = super().options()
        return Options(
            route.category, route.soft, route.threshold, self.format, self.quality, self.saturation, self.metadata
        )  # fmt: skip


class Coloured(BaseModel):
    """The answer of /v1/colorize where JSON is accepted."""

    decision: Decision
    media_type: str
    image: str = Field(description="the file in base64")


class Category(BaseModel):
    """A category that can be asked for."""

    name: str
    expert: str = Field(description="the expert that paints it")
    fallback: bool = Field(description="whether unsure pictures go here")


class BundleInfo(BaseModel):
    """The bundle that is served: name and digest, and the manifest as it is in the folder."""

    bundle: str
    digest: str
    manifest: dict[str, object]


class Status(BaseModel):
    """Whether the service is alive, or ready."""

    status: str


class Problem(BaseModel):
    """An error, after RFC 9457. `type` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="the request, as the server's log names it")
    option: str | None = None
    valid: str | None = None


class PictureRecord(BaseModel):
    """What became of one picture of a batch or a job: a decision record, or a problem. `decisions.json` is a list of these."""

    name: str = Field(description="as it was sent")
    output: str | None = Field(None, description="its name in the zip")
    decision: Decision | None = None
    problem: Problem | None = None


JobState = Literal["queued", "running", "finished", "cancelled"]


class JobStatus(BaseModel):
    """A job and how far it is."""

    id: str
    state: JobState
    total: int = Field(description="pictures of the job")
    done: int = Field(description="pictures in colour")
    failed: int = Field(description="pictures with a problem of their own")
    created: datetime
    expires: datetime | None = Field(None, description="when the results are removed; once the job is finished or cancelled")


class JobEvent(BaseModel):
    """The data of a server-sent event: a picture of the job, in their order. The event's id is the picture's index."""

    index: int
    record: PictureRecord
