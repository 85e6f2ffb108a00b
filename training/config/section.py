"""The base class of all sections of a recipe, the error that recipes raise, and its text."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ChromarouteError

Share = Annotated[float, Field(gt=0, le=1)]
Side = Annotated[int, Field(gt=0, le=1024, description="in pixels")]
Decay = Annotated[float, Field(ge=0, lt=1)]


class RecipeError(ChromarouteError):
    """The recipe does not exist, or cannot be followed."""


class Section(BaseModel):
    """A section that is frozen and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def describe_problems(error: ValidationError, section: type[BaseModel]) -> str:
    """The problems that pydantic found in the values of a section, with the valid keys where a key is unknown or missing."""
    return "; ".join(_describe(problem, section) for problem in error.errors())


def _describe(problem: Mapping[str, Any], section: type[BaseModel]) -> str:
    loc = problem["loc"]
    text = f"{'.'.join(map(str, loc))}: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        (inner,) = _inner_sections(section, loc[:-1])
        return f"{text}: give {', '.join(inner.model_fields) or 'none'}"
    if problem["type"] == "union_tag_not_found":
        kinds = [_tags(inner) for inner in _inner_sections(section, loc)]
        return f"{text}: give one of {', '.join(tag for tags in kinds for tag in tags)}"
    return text


def _inner_sections(section: type[BaseModel], loc: Sequence[Any]) -> list[type[BaseModel]]:
    """The section at a location, or all sections from which a discriminator selects one there."""
    sections = [section]
    for part in loc:
        if len(sections) > 1:  # the location names the tag of a discriminated union before the keys of the selected section
            sections = [inner for inner in sections if part in _tags(inner)]
        else:
            annotation = sections[0].model_fields[part].annotation
            sections = [kind for kind in get_args(annotation) or (annotation,) if issubclass(kind, BaseModel)]
    return sections


def _tags(section: type[BaseModel]) -> tuple[str, ...]:
    """The values of the discriminator of a section, which is its first field."""
    return get_args(next(iter(section.model_fields.values())).annotation)
