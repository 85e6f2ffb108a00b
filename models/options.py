"""The options of routing and colorizing: names, defaults, ranges and descriptions, used by library, API and command line."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import from_json

from models.errors import MissingOption, OptionError, UnknownOption

AUTO = "auto"  # lets the router choose the category
MAX_PAGES = 1_000  # of a file
MAX_HINTS = 1_000  # of a picture

_SHOWN = 80  # characters of a wrong value

HINTS = f'colors of points: a JSON list of at most {MAX_HINTS} objects such as {{"x": 120, "y": 80, "color": "#1f3a5f"}}'

Routing = Literal["hard", "soft"]
Format = Literal["auto", "jpeg", "png", "webp", "tiff", "avif"]
MetadataPolicy = Literal["keep", "strip", "keep-gps"]


class RouteOptions(BaseModel):
    """The options that decide the route of a picture.

    Raises:
        OptionError: a value is not valid.
        UnknownOption: there is no option of that name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: str = Field(AUTO, description="auto lets the router choose; or the category whose expert colorizes the picture")
    routing: Routing = Field("hard", description="hard uses one expert, soft blends the experts of the most probable categories")
    threshold: float | None = Field(None, ge=0, le=1, description="minimum confidence; the threshold of the bundle if not given")

    @model_validator(mode="wrap")
    @classmethod
    def _raise_option_errors(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise _option_error(cls, error) from None


X = Annotated[float, Field(ge=0, allow_inf_nan=False, description="pixels from the left of the upright picture")]
Y = Annotated[float, Field(ge=0, allow_inf_nan=False, description="pixels from the top")]


class Hint(BaseModel):
    """The color of a point of a picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    x: X
    y: Y
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="as #rrggbb, of which only the chrominance counts")
    radius: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="pixels within which it counts; if not given, where it looks alike and is near"
    )
    strength: float = Field(1.0, ge=0, le=1, description="0 has no effect, 1 gives the color")


def read_json(value: Any) -> Any:
    """The value of a JSON text, which forms and files have."""
    return from_json(value) if isinstance(value, str | bytes) else value


class OutputOptions(RouteOptions):
    """The options of colorizing any picture; what they raise is that of `RouteOptions`."""

    format: Format = Field("auto", description="format of the output; auto is that of the input, or PNG if that cannot be written")
    quality: int = Field(90, ge=1, le=100, description="encoder quality of JPEG, WebP and AVIF")
    saturation: float = Field(1.0, ge=0, le=2, description="factor on chroma: 0 is gray, 1 is as predicted")
    metadata: MetadataPolicy = Field(
        "keep", description="EXIF, XMP, IPTC, texts: keep copies all but GPS, strip none, keep-gps all; resolution is always kept"
    )
    page: int | None = Field(
        None, ge=1, le=MAX_PAGES, description="page of a multi-page file; if not given, all for TIFF output, otherwise the first"
    )


class Options(OutputOptions):
    """The options of colorizing one picture; what they raise is that of `RouteOptions`."""

    hints: Annotated[tuple[Hint, ...], BeforeValidator(read_json)] = Field((), max_length=MAX_HINTS, description=HINTS)

    def with_hints(self, hints: Iterable[Hint]) -> "Options":
        """The same options with other hints."""
        return self.model_copy(update={"hints": tuple(hints)})

    def check_pages(self, count: int) -> None:
        """Raise an OptionError if there are hints although the output has several pages."""
        if self.hints and count > 1:
            raise OptionError("page", None, f"a whole number from 1 to {count}: hints are for one page, and the output has {count}")


class PointOptions(RouteOptions):
    """The options of the plausible colors of a point; what they raise is that of `RouteOptions`."""

    x: X
    y: Y
    count: int = Field(8, ge=1, le=20, description="colors, at most")
    page: int | None = OutputOptions.model_fields["page"]  # type: ignore[assignment]


def valid_values(field: FieldInfo) -> str:
    """The valid values of an option, for messages: "one of a, b", "a number from 0 to 2"."""
    annotation = field.annotation
    if get_origin(annotation) is tuple:
        return "a JSON list of points, in a form field"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    low = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    high = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
    if low is not None and high is None:
        return f"a number of at least {low}"
    if low is None or high is None:
        return "auto or a category of the bundle"
    is_whole = int in (annotation, *get_args(annotation))
    return f"{'a whole number' if is_whole else 'a number'} from {low} to {high}"


def _option_error(options: type[RouteOptions], error: ValidationError) -> OptionError:
    """The `OptionError` for the first validation error that pydantic reports."""
    first = error.errors()[0]
    name, *inside = first["loc"]
    if name not in options.model_fields:
        return UnknownOption(str(name), tuple(options.model_fields))
    if name == "hints":
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inside)
        return OptionError(
            f"hints{where}", _shortened(first["input"]), f"{options.model_fields['hints'].description} ({first['msg']})"
        )
    valid = valid_values(options.model_fields[str(name)])
    return MissingOption(str(name), valid) if first["type"] == "missing" else OptionError(str(name), first["input"], valid)


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
