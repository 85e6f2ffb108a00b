"""Every problem that the API answers with, in one table, as `application/problem+json` (RFC 9457)."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.schemas import VALID_OPTIONS, ColorizeQuery, Problem, RouteQuery
from models.errors import BrokenPicture, BundleError, ChromarouteError, NotAPicture, OptionError, PictureTooLarge

MEDIA_TYPE = "application/problem+json"

request_id: ContextVar[str] = ContextVar("request_id", default="")

log = logging.getLogger("chromaroute")


class Kind(NamedTuple):
    """A kind of problem: its status, and a detail as an example."""

    status: int
    example: str


KINDS: Mapping[str, Kind] = {
    "bad-request": Kind(422, "send the picture as multipart/form-data in a field called file: curl -F file=@scan.jpg ..."),
    "bad-option": Kind(422, "quality is '0', which is not valid: give a whole number from 1 to 100."),
    "broken-picture": Kind(422, "the picture is cut off or damaged (image file is truncated): export it again."),
    "broken-archive": Kind(422, "this is not a zip archive that can be read (File is not a zip file): pack it again."),
    "idempotency-key-reused": Kind(422, "the Idempotency-Key 'box-7' was sent with other pictures or options: take a new one."),
    "not-a-picture": Kind(415, "this is not a picture that can be read: send one of JPEG, PNG, WEBP, TIFF, BMP, GIF."),
    "too-large": Kind(413, "the picture has 10000 x 6000 = 60000000 pixels, and the limit is 50000000: send a smaller one."),
    "bad-bundle": Kind(
        409, "there is no bundle in bundles/new: a bundle is a folder with a manifest.json and its safetensors files."
    ),
    "bad-vote": Kind(422, "choice is 'none': give one of real, coloured."),
    "voted": Kind(409, "this question was answered before, and the first answer counts."),
    "job-unfinished": Kind(409, "the job is running: 12 of 200 pictures are finished. Follow its events, or cancel it."),
    "not-found": Kind(404, "there is no job '6f1c…': it has expired, or never was."),
    "method-not-allowed": Kind(405, "GET is not for /v1/colorize: use POST."),
    "no-key": Kind(401, "this needs an API key. Send one as Authorization: Bearer KEY."),
    "too-many-requests": Kind(429, "the key 'press' may send 60 requests a minute: wait 12 seconds."),
    "busy": Kind(503, "64 requests are being worked on, which is the limit: try again after 1 second."),
    "experts-changed": Kind(503, "the file of expert cat has the sha256 … and its card says …: restore the bundle, or reload it."),
    "slow-client": Kind(408, "nothing came for 60 seconds, and the request is not complete: send it again."),
    "no-room": Kind(507, "the disk has no room for the job: wait until others have expired, or send it in parts."),
    "late": Kind(504, "the picture was not coloured within 60 seconds: send it again, or a smaller one."),
    "jobs-off": Kind(501, "this server offers no jobs (CHROMAROUTE_JOBS=0): use /v1/colorize/batch."),
    "fault": Kind(500, "the server failed on this request; its log says why."),
}

Responses = dict[int | str, dict[str, Any]]


class ServiceError(ChromarouteError):
    """An error of the service itself, of the kind that `slug` names."""

    def __init__(self, slug: str, detail: str, retry_after: int | None = None) -> None:
        self.slug, self.retry_after = slug, retry_after
        super().__init__(detail)


SLUGS: Mapping[type[ChromarouteError], str] = {
    NotAPicture: "not-a-picture",
    BrokenPicture: "broken-picture",
    PictureTooLarge: "too-large",
    OptionError: "bad-option",
    BundleError: "experts-changed",
}


class BodyTooLarge(HTTPException):
    """The request's body is over the limit; an HTTPException, because it is raised while FastAPI reads the body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the request is larger than {limit} bytes, which is the limit: send a smaller file.")


class SlowClient(HTTPException):
    """The request's body stopped coming; an HTTPException for the same reason."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"nothing came for {seconds:g} seconds, and the request is not complete: send it again.")


def described(error: Exception) -> Problem:
    """The problem that an error is; one that is not ours is a fault, and logged."""
    if isinstance(error, ServiceError):
        return _problem(error.slug, str(error))
    slug = next((slug for kind, slug in SLUGS.items() if isinstance(error, kind)), None)
    if slug is None:
        log.error("a fault", exc_info=error)
        return _problem("fault", KINDS["fault"].example)
    option = {"option": error.option, "valid": error.valid} if isinstance(error, OptionError) else {}
    return _problem(slug, str(error), **option)


def answer(problem: Problem, retry_after: int | None = None) -> JSONResponse:
    """A problem as a response; with the request that it is about."""
    body = problem.model_copy(update={"instance": f"urn:chromaroute:request:{request_id.get()}"} if request_id.get() else {})
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(exclude_none=True), problem.status, headers, media_type=MEDIA_TYPE)


def refusal(slug: str, detail: str, retry_after: int | None = None) -> JSONResponse:
    """A problem of a kind, as a response."""
    return answer(_problem(slug, detail), retry_after)


def documented(*slugs: str) -> Responses:
    """What OpenAPI says of the problems of a path, with an example of each."""
    found: Responses = {}
    for slug in slugs:
        status, example = KINDS[slug]
        entry = found.setdefault(status, {"model": Problem, "description": HTTPStatus(status).phrase, "content": {}})
        examples = entry["content"].setdefault(MEDIA_TYPE, {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}})
        examples["examples"][slug] = {"value": _problem(slug, example).model_dump(exclude_none=True)}
    return found


def add_error_handlers(app: FastAPI) -> None:
    """Answer our own errors, invalid requests and unknown paths as problems."""
    app.add_exception_handler(ChromarouteError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _problem(slug: str, detail: str, **more: Any) -> Problem:
    status = KINDS[slug].status
    return Problem(type=f"urn:chromaroute:problem:{slug}", title=HTTPStatus(status).phrase, status=status, detail=detail, **more)


def _ours(request: Request, error: Exception) -> JSONResponse:
    return answer(described(error), getattr(error, "retry_after", None))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, name = str(first["loc"][0]), str(first["loc"][-1])
    if request.url.path.startswith("/survey"):
        fields = "the voter, 32 hexadecimal digits, in the header X-Survey-Voter, and a vote as JSON with question and choice"
        return refusal("bad-request", f"the request is not valid ({first['msg']}): send {fields}.")
    if where == "query" and first["type"] == "extra_forbidden":
        known = (RouteQuery if request.url.path.endswith("/route") else ColorizeQuery).model_fields
        detail = f"there is no option {name!r}: the options are {', '.join(known)}."
        return answer(_problem("bad-option", detail, option=name))
    if where == "query":
        return _ours(request, OptionError(name, first.get("input"), VALID_OPTIONS.get(name, first["msg"])))
    if where in ("header", "path"):
        return _ours(request, OptionError(name, first.get("input"), first["msg"]))
    if request.url.path.endswith(("/batch", "/jobs")):
        return refusal(
            "bad-request", "send pictures as multipart/form-data: curl -F files=@1.jpg -F files=@2.jpg, or -F archive=@box.zip"
        )
    return refusal("bad-request", KINDS["bad-request"].example)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if detail.startswith("Too many files"):  # Starlette's form parser, which answers 400
        return refusal("too-large", f"{detail} Send them in parts.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _wrong_method(request)
    slug = {404: "not-found", 408: "slow-client", 413: "too-large"}.get(error.status_code)
    found = answer(
        _problem(slug, detail) if slug else _problem("bad-request", f"{detail.rstrip('.')}: {KINDS['bad-request'].example}")
    )
    found.headers.update(error.headers or {})
    return found


def _wrong_method(request: Request) -> JSONResponse:
    """Starlette names the methods of the first route of a path alone."""
    path = getattr(request.scope.get("route"), "path", request.url.path)
    methods = [method.upper() for method in request.app.openapi()["paths"].get(path, ("get", "head"))]
    found = refusal("method-not-allowed", f"{request.method} is not for {path}: use {', '.join(methods)}.")
    found.headers["Allow"] = ", ".join(methods)
    return found
