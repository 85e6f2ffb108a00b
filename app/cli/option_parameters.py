"""Options of `models.options` as parameters of a command: names, types, defaults and help come from the model, which validates."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from models.options import RouteOptions

SEPARATE = ("hints",)  # options whose parameters a command defines itself


def with_options(model: type[RouteOptions]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter `options` of a command by a command-line option for each field of the model that is not `SEPARATE`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        scalars = {name: field for name, field in model.model_fields.items() if name not in SEPARATE}
        own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
        fields = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[field.annotation, typer.Option(help=field.description)],
            )
            for name, field in scalars.items()
        ]

        def run(**values: Any) -> None:
            chosen = model(**{name: values.pop(name) for name in scalars})
            command(options=chosen, **values)

        positional = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters = [*positional, *fields]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate
