"""Validates the `task.arguments` of a recipe by the constructor of the network that they are for."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from training.config.section import RecipeError, describe_problems


def check_arguments(name: str, constructor: Callable[..., object], arguments: Mapping[str, Any], skip: int = 0) -> None:
    """Check the arguments of the network `name`, without the first `skip` parameters of its constructor.

    All whole numbers are sizes, and must be above 0; other numbers must not be negative.

    Raises:
        RecipeError: an argument is unknown, or its value is not valid.
    """
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(constructor).parameters.values())[skip:]:
        limit = {int: Field(gt=0), float: Field(ge=0)}.get(parameter.annotation)
        kind = parameter.annotation if limit is None else Annotated[parameter.annotation, limit]
        fields[parameter.name] = (kind, parameter.default)
    model = create_model("Arguments", __config__=ConfigDict(extra="forbid", strict=True), **fields)
    try:
        model.model_validate(dict(arguments))
    except ValidationError as error:
        raise RecipeError(f"task.arguments are not valid for {name}: {describe_problems(error, model)}.") from error
