"""The problems that the API answers with, in one table, as `application/problem+json` (RFC 9457)."""

import errno
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.schemas import Problem
from models.decoders import ALWAYS_READ
from models.errors import BrokenPicture, BundleError, ChromarouteError, NotAPicture, OptionError, PictureTooComplex, PictureTooLarge

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

MEDIA_TYPE = "application/problem+json"

request_id: ContextVar[str] = ContextVar("request_id", default="")

log = logging.getLogger("chromaroute")


class ProblemType(NamedTuple):
    """The HTTP status of a type of problem, and an example of its detail."""

    status: int
    example: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "bad-request": ProblemType(422, "send the picture as multipart/form-data in a field called file: curl -F file=@scan.jpg ..."),
    "bad-option": ProblemType(422, "quality is '0', which is not valid: give a whole number from 1 to 100."),
    "broken-picture": ProblemType(422, "the picture is truncated or damaged (image file is truncated): export it again."),
    "too-complex": ProblemType(422, "decoding the picture takes more than 20 seconds of processor time: export it again."),
    "broken-archive": ProblemType(422, "this is not a zip archive that can be read (File is not a zip file): create it again."),
    "idempotency-key-reused": ProblemType(
        422, "the Idempotency-Key was sent before with other pictures or options: use a new one."
    ),
    "not-a-picture": ProblemType(415, f"this is not a picture in a supported format: send one of {', '.join(ALWAYS_READ)}."),
    "too-large": ProblemType(413, "the picture has 10000 x 6000 = 60000000 pixels, and the limit is 50000000: send a smaller one."),
    "bad-bundle": ProblemType(
        409, "bundles/new is not a bundle: a bundle is a folder with a manifest.json and its safetensors files."
    ),
    "bad-vote": ProblemType(422, "choice is 'none': give one of real, colorized."),
    "already-voted": ProblemType(409, "this question was answered before, and the first answer counts."),
    "result-lost": ProblemType(
        500, "the result of this picture is damaged on the disk of the server, and its upload was deleted: send it again."
    ),
    "server-ended": ProblemType(500, "the server ended 3 times while it processed this picture: export it again."),
    "job-unfinished": ProblemType(409, "the job is running: 12 of 200 items are finished. Follow its events, or cancel it."),
    "not-found": ProblemType(404, "there is no job '6f1c…': it has expired, was deleted, or never existed."),
    "method-not-allowed": ProblemType(405, "GET is not allowed for /v1/colorize: use POST."),
    "range-not-satisfiable": ProblemType(416, "the range begins at byte 5000, and there are 4000: ask for less."),
    "unauthorized": ProblemType(401, "this needs an API key. Send one as Authorization: Bearer KEY."),
    "forbidden": ProblemType(403, "the key 'press' is not that of an administrator: use one of chromaroute key add NAME --admin."),
    "cross-site": ProblemType(
        403, "a page of 'https://other.example' may not send this: list its origin in CHROMAROUTE_CORS_ORIGINS."
    ),
    "wrong-host": ProblemType(421, "this server is not 'other.example': use one of the names in CHROMAROUTE_HOSTS."),
    "too-many-requests": ProblemType(429, "the key 'press' has used up its requests of this minute: wait 12 seconds."),
    "overloaded": ProblemType(503, "64 requests of this kind are in progress, which is the limit: try again after 1 second."),
    "bundle-changed": ProblemType(
        503, "the file of expert cat, cat.safetensors, has the sha256 … and its card says …: it was altered; restore the bundle."
    ),
    "slow-client": ProblemType(
        408, "the request was sent too slowly, or not at all for 60 seconds, and is incomplete: send it again."
    ),
    "headers-too-large": ProblemType(431, "request line and headers have more than 65536 bytes, which is the limit: send fewer."),
    "insufficient-storage": ProblemType(
        507, "the disk has no space left: send fewer or smaller pictures, or try again when jobs have expired."
    ),
    "quota-exceeded": ProblemType(
        507, "your jobs hold 21474836480 bytes, which is the limit: delete some, or wait until they have expired."
    ),
    "deadline-exceeded": ProblemType(504, "the picture was not colorized within 60 seconds: send it again, or a smaller one."),
    "jobs-disabled": ProblemType(501, "this server does not offer jobs: use /v1/colorize/batch."),
    "internal-error": ProblemType(500, "the server failed to process this request; its log contains the reason."),
}

Responses = dict[int | str, dict[str, Any]]


class ServiceError(ChromarouteError):
    """An error of the service itself; `type` is a key of `PROBLEM_TYPES`, `retry_after` is in seconds."""

    def __init__(
        self, type: str, detail: str, retry_after: int | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.type, self.retry_after, self.headers = type, retry_after, headers
        super().__init__(detail)


_TYPE_OF_ERROR: Mapping[type[ChromarouteError], str] = {
    NotAPicture: "not-a-picture",
    BrokenPicture: "broken-picture",
    PictureTooLarge: "too-large",
    PictureTooComplex: "too-complex",
    OptionError: "bad-option",
    BundleError: "bundle-changed",
}
_TYPE_OF_STATUS = {404: "not-found", 408: "slow-client", 413: "too-large"}


class BodyTooLarge(HTTPException):
    """The request body is over the limit; an HTTPException, because it is raised while FastAPI reads the body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the request is larger than {limit} bytes, which is the limit: send a smaller file.")


class SlowClient(HTTPException):
    """The client stopped sending the request body; an HTTPException for the same reason."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            408, f"the request was sent too slowly, or not at all for {seconds:g} seconds, and is incomplete: send it again."
        )


def problem_of(error: Exception) -> Problem:
    """The problem of an exception. Exceptions other than `ChromarouteError` are internal errors, and are logged."""
    if isinstance(error, ServiceError):
        return _problem(error.type, str(error))
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        log.error("the disk is full: %s", error)
        return _problem("insufficient-storage", PROBLEM_TYPES["insufficient-storage"].example)
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.error("there are no more file descriptors: %s", error)
        return _problem("overloaded", "the server has too many open files: try again after 1 second.")
    type_ = next((name for error_type, name in _TYPE_OF_ERROR.items() if isinstance(error, error_type)), None)
    if type_ is None:
        log.error("internal error", exc_info=error, extra={"request_id": request_id.get()})
        return _problem("internal-error", PROBLEM_TYPES["internal-error"].example)
    option = {"option": error.option, "valid": error.valid} if isinstance(error, OptionError) else {}
    return _problem(type_, str(error), **option)


def problem_response(problem: Problem, retry_after: int | None = None) -> JSONResponse:
    """A problem as a response, with the id of the current request."""
    body = problem.model_copy(update={"instance": f"urn:chromaroute:request:{request_id.get()}"} if request_id.get() else {})
    if retry_after is None and problem.type.endswith(":overloaded"):  # also where an error of the system was the reason
        retry_after = 1
    if retry_after is None and problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = 1
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE)


def error_response(type: str, detail: str, retry_after: int | None = None) -> JSONResponse:
    """A problem of the given type as a response."""
    return problem_response(_problem(type, detail), retry_after)


def problem_examples(*types: str) -> Responses:
    """The OpenAPI responses of a route for these types of problems, with an example of each."""
    responses: Responses = {}
    for name in types:
        status, example = PROBLEM_TYPES[name]
        entry = responses.setdefault(status, {"model": Problem, "description": HTTPStatus(status).phrase, "content": {}})
        content = entry["content"].setdefault(MEDIA_TYPE, {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}})
        content["examples"][name] = {"value": _problem(name, example).model_dump(exclude_none=True)}
    return responses


def add_error_handlers(app: FastAPI) -> None:
    """Answer our own errors, invalid requests and unknown paths with problems."""
    app.add_exception_handler(ChromarouteError, _handle_own_error)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http_exception)


def _problem(type: str, detail: str, **more: Any) -> Problem:
    status = PROBLEM_TYPES[type].status
    return Problem(type=f"urn:chromaroute:problem:{type}", title=HTTPStatus(status).phrase, status=status, detail=detail, **more)


def _handle_own_error(request: Request, error: Exception) -> JSONResponse:
    response = problem_response(problem_of(error), getattr(error, "retry_after", None))
    response.headers.update(getattr(error, "headers", {}))
    return response


def _handle_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, name = str(first["loc"][0]), str(first["loc"][-1])
    if where in ("query", "path", "header") and first["type"] != "missing":
        kind = "a whole number" if first["type"].startswith("int_") else first["msg"].removeprefix("Input should be ")
        return _handle_own_error(request, OptionError(name, first.get("input"), kind))
    return error_response("bad-request", request.scope["policy"].expects)


def _handle_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if isinstance(error.__cause__, OSError):  # while the form was parsed, which FastAPI takes for a mistake of the client
        return _handle_own_error(request, error.__cause__)
    if detail.startswith("Too many files"):  # the form parser of Starlette reports every error with the status 400
        limit = request.app.state.engine.settings.max_items
        return error_response("too-large", f"there are more than {limit} files, which is the limit: send them in parts.")
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        return error_response("not-found", f"there is nothing at {request.url.path}: see /docs for the paths.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _method_not_allowed(request)
    type_ = _TYPE_OF_STATUS.get(error.status_code)
    problem = (
        _problem(type_, detail)
        if type_
        else _problem("bad-request", f"{detail.rstrip('.')}: {request.scope['policy'].expects}")
    )  # fmt: skip
    response = problem_response(problem)
    response.headers.update(error.headers or {})
    return response


def _method_not_allowed(request: Request) -> JSONResponse:
    """Starlette only knows the methods of the first route of a path."""
    path = getattr(request.scope.get("route"), "path", request.url.path)
    methods = [method.upper() for method in request.app.openapi()["paths"].get(path, ("get", "head"))]
    response = error_response("method-not-allowed", f"{request.method} is not allowed for {path}: use {', '.join(methods)}.")
    response.headers["Allow"] = ", ".join(methods)
    return response
