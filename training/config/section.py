"""The base class of all sections of a recipe, and the error that recipes raise."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.errors import ChromarouteError

Share = Annotated[float, Field(gt=0, le=1)]
Side = Annotated[int, Field(gt=0, le=1024, description="in pixels")]
Decay = Annotated[float, Field(ge=0, lt=1)]


class RecipeError(ChromarouteError):
    """The recipe does not exist, or cannot be followed."""


class Section(BaseModel):
    """A section that is frozen and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
