"""One table from the error tree to HTTP, and every error as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.schemas import VALID_OPTIONS, ColorizeQuery, Problem, RouteQuery
from models.errors import BrokenPicture, ChromarouteError, NotAPicture, OptionError, PictureTooLarge

PROBLEMS: Mapping[type[ChromarouteError], tuple[int, str]] = {
    NotAPicture: (415, "not-a-picture"),
    BrokenPicture: (422, "broken-picture"),
    PictureTooLarge: (413, "too-large"),
    OptionError: (422, "bad-option"),
}

MEDIA_TYPE = "application/problem+json"


class BodyTooLarge(HTTPException):
    """The request's body is over the limit; an HTTPException, because it is raised while FastAPI reads the body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the request is larger than {limit} bytes, which is the limit: send a smaller file.")


def problem(status: int, slug: str, detail: str, **more: Any) -> JSONResponse:
    """A problem document; `slug` makes its stable `type`."""
    body = Problem(type=f"urn:chromaroute:problem:{slug}", title=HTTPStatus(status).phrase, status=status, detail=detail, **more)
    return JSONResponse(body.model_dump(exclude_none=True), status, media_type=MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Answer our own errors, invalid requests and unknown paths as problems."""
    app.add_exception_handler(ChromarouteError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def _ours(request: Request, error: Exception) -> JSONResponse:
    status, slug = next(found for kind, found in PROBLEMS.items() if isinstance(error, kind))
    option = {"option": error.option, "valid": error.valid} if isinstance(error, OptionError) else {}
    return problem(status, slug, str(error), **option)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, name = str(first["loc"][0]), str(first["loc"][-1])
    if where == "query" and first["type"] == "extra_forbidden":
        known = (RouteQuery if request.url.path.endswith("/route") else ColorizeQuery).model_fields
        return problem(422, "bad-option", f"there is no option {name!r}: the options are {', '.join(known)}.", option=name)
    if where == "query":
        return _ours(request, OptionError(name, first.get("input"), VALID_OPTIONS.get(name, first["msg"])))
    return problem(422, "bad-request", "send the picture as multipart/form-data in a field called file: curl -F file=@scan.jpg ...")


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    slug = {413: "too-large", 404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    answer = problem(error.status_code, slug, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _fault(request: Request, error: Exception) -> JSONResponse:
    return problem(500, "fault", "the server failed on this request; its log says why.")
