"""What routes depend on: the parts of the application in `app.state`, as annotations for FastAPI."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Query, Request
from pydantic import create_model
from pydantic.fields import FieldInfo
from starlette.datastructures import UploadFile

from app.errors import ServiceError
from app.inference.bundles import DEFAULT
from app.inference.engine import Engine
from app.jobs.queue import JobQueue
from app.metrics import Metrics
from app.schemas import REQUIRED, BatchOptions, JobOptions, VariantOptions
from app.survey.store import Survey
from models.errors import UnknownOption
from models.options import Options, PointOptions, RouteOptions

Model = TypeVar("Model", bound=RouteOptions)

FORM_ONLY = ("hints",)  # options that are no query parameters


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _bundle(request: Request) -> str:
    return str(request.scope.get("bundle", DEFAULT))


def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


def _jobs(request: Request) -> JobQueue | None:
    jobs: JobQueue | None = request.app.state.jobs
    return jobs


def _survey(request: Request) -> Survey:
    survey: Survey = request.app.state.survey
    return survey


def _options(model: type[Model], parts: tuple[str, ...], repeatable: tuple[str, ...] = ()) -> Callable[..., Awaitable[Model]]:
    """The options of a request: query parameters and form fields, with equal effect.

    Args:
        model: of the options.
        parts: the names of the files that the form may have.
        repeatable: those that may be repeated.
    """

    async def options(request: Request, query: Annotated[Any, Query()]) -> Model:
        given: dict[str, Any] = query.model_dump(exclude_unset=True)
        seen: set[str] = set()
        for name, value in (await request.form()).multi_items():
            is_file = isinstance(value, UploadFile)
            if is_file and name not in parts:
                raise ServiceError("bad-request", f"there is no part called {name!r}: {request.scope['policy'].expects}")
            if not is_file and name in parts:
                detail = (
                    f"the part {name!r} is a text and not a file, because it has no file name: {request.scope['policy'].expects}"
                )
                raise ServiceError("bad-request", detail)
            if not is_file and name not in model.model_fields:
                raise UnknownOption(name, tuple(model.model_fields))
            if name in (given if not is_file else ()) or (name in seen and name not in repeatable):
                raise ServiceError("bad-request", f"{name!r} is given twice: give it once.{_SEVERAL if is_file else ''}")
            seen.add(name)
            if not is_file:
                given[name] = value
        return model(**given)

    options.__annotations__["query"] = Annotated[_query_model(model), Query()]
    return options


def _query_model(model: type[Model]) -> type[RouteOptions]:
    """The options that fit into an address: hints are sent in the form. None is required, because it may be in the form."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) if not field.is_required() else (cast(Any, field.annotation) | None, _not_required(field))
        for name, field in model.model_fields.items()
        if name not in FORM_ONLY
    }
    return create_model(f"{model.__name__}Query", __base__=RouteOptions, **fields)


def _not_required(field: FieldInfo) -> FieldInfo:
    return FieldInfo.merge_field_infos(field, default=None, json_schema_extra={REQUIRED: True})


_SEVERAL = " Several pictures go to /v1/colorize/batch or /v1/jobs."


def refuse_unknown_query(request: Request) -> None:
    """Refuse query parameters that would be ignored: those that the route does not have, and all but the last of the same name.

    Raises:
        UnknownOption: the route does not have one.
        ServiceError: one is given twice.
    """
    if not request.query_params:  # the document is large, and generated at its first use
        return
    path = request.app.openapi()["paths"].get(request.scope["route"].path, {})
    operation = path.get("get" if request.method == "HEAD" else request.method.lower(), {})
    known = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            raise UnknownOption(name, known)
        if len(request.query_params.getlist(name)) > 1:
            raise ServiceError("bad-request", f"{name!r} is given twice: give it once.")


EngineDep = Annotated[Engine, Depends(_engine)]
BundleDep = Annotated[str, Depends(_bundle)]  # the name of the bundle of the API key
MetricsDep = Annotated[Metrics, Depends(_metrics)]
JobsDep = Annotated[JobQueue | None, Depends(_jobs)]
SurveyDep = Annotated[Survey, Depends(_survey)]
OptionsDep = Annotated[Options, Depends(_options(Options, ("file",)))]
RouteOptionsDep = Annotated[RouteOptions, Depends(_options(RouteOptions, ("file",)))]
PointOptionsDep = Annotated[PointOptions, Depends(_options(PointOptions, ("file",)))]
VariantOptionsDep = Annotated[VariantOptions, Depends(_options(VariantOptions, ("file",)))]
BatchOptionsDep = Annotated[BatchOptions, Depends(_options(BatchOptions, ("files", "archive"), repeatable=("files",)))]
JobOptionsDep = Annotated[JobOptions, Depends(_options(JobOptions, ("files", "archive"), repeatable=("files",)))]
