"""`POST /v1/colorize` and `POST /v1/route`."""

import asyncio
import base64
from urllib.parse import quote

from fastapi import APIRouter, Request, Response, UploadFile

from app.dependencies import BundleDep, EngineDep, OptionsDep, RouteOptionsDep
from app.errors import PROBLEM_TYPES, problem_examples
from app.policy import Cost, policy
from app.schemas import ColorizedImage
from models.decision import Decision
from models.imaging import WRITES
from models.options import HINTS

router = APIRouter(prefix="/v1", tags=["one picture"])

UPLOAD_TYPES = (*WRITES.values(), "image/bmp", "image/gif", "image/jp2", "image/heic")
HINTS_FIELD = {
    "schema": {"properties": {"hints": {"type": "string", "contentMediaType": "application/json", "description": HINTS}}}
}
FILE_ENCODING = {"encoding": {"file": {"contentType": ", ".join(UPLOAD_TYPES)}}}
FILE_BODY = {"requestBody": {"content": {"multipart/form-data": FILE_ENCODING}}}
PROBLEMS = problem_examples(
    "bad-request", "bad-option", "broken-picture", "not-a-picture", "too-large", "too-complex",
    "unauthorized", "too-many-requests", "overloaded", "bundle-changed", "deadline-exceeded",
)  # fmt: skip

picture_policy = policy(cost=Cost.PICTURE, expects=PROBLEM_TYPES["bad-request"].example)


@router.post(
    "/colorize",
    response_class=Response,
    responses={
        200: {
            "description": "the colorized picture; with `Accept: application/json`, the decision record and the picture in base64",
            "model": ColorizedImage,
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in WRITES.values()},
        },
        **PROBLEMS,
    },
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {**FILE_ENCODING, **HINTS_FIELD}}}},
)
@picture_policy
async def colorize(request: Request, engine: EngineDep, bundle: BundleDep, options: OptionsDep, file: UploadFile) -> Response:
    """Colorize a picture. The output has the dimensions and the luma of the input."""
    content, format, decision = await engine.colorize(file.read, options, bundle)
    log_decision(request, decision)
    if wants_json(request.headers.get("accept", "*/*"), WRITES[format]):
        body = await asyncio.to_thread(_json, content, format, decision)
        return Response(body, media_type="application/json", headers=decision_headers(decision))
    return Response(content, media_type=WRITES[format], headers=decision_headers(decision))


@router.post("/route", responses=PROBLEMS, openapi_extra=FILE_BODY)
@picture_policy
async def route(
    request: Request, response: Response, engine: EngineDep, bundle: BundleDep, options: RouteOptionsDep, file: UploadFile
) -> Decision:
    """Return the decision record of a picture without colorizing it."""
    decision = await engine.route(file.read, options, bundle)
    log_decision(request, decision)
    response.headers.update(decision_headers(decision))
    return decision


def wants_json(accept: str, media_type: str) -> bool:
    """Whether an Accept header prefers JSON to a picture of this type (RFC 9110, section 12.5.1).

    Of equal weights, the type that is named more exactly is preferred, and then the picture.
    """
    return _preference(accept, "application/json") > _preference(accept, media_type)


def _preference(accept: str, media_type: str) -> tuple[float, int]:
    """The weight of a media type, by the range that names it most exactly, and how exactly that is."""
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    found = (-1, 0.0)
    for item in accept.lower().split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        weights = [part.partition("=")[2] for part in parameters if part.replace(" ", "").startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            continue
        if media in ranges:
            found = max(found, (ranges.index(media), weight))
    exactness, weight = found
    return (weight, exactness) if weight else (0.0, -1)


def decision_headers(decision: Decision) -> dict[str, str]:
    """The decision record in response headers; names are percent-encoded where a header could not hold them."""
    return {
        "X-Chromaroute-Category": quote(decision.category, safe=" "),
        "X-Chromaroute-Confidence": f"{decision.confidence:.4f}",
        "X-Chromaroute-Fallback": str(decision.fell_back).lower(),
        "X-Chromaroute-Expert": ", ".join(quote(expert.name, safe=" ") for expert in decision.experts),
        "X-Chromaroute-Bundle": decision.bundle,
        "Server-Timing": ", ".join(f"{stage};dur={time}" for stage, time in decision.timings_ms.items()),
    }


def _json(content: bytes, format: str, decision: Decision) -> str:
    image = base64.b64encode(content).decode()
    return ColorizedImage(decision=decision, media_type=WRITES[format], image=image).model_dump_json()


def log_decision(request: Request, decision: Decision) -> None:
    """Add the decision to the line of the access log."""
    request.scope["decision"] = {"category": decision.category, "reason": decision.reason, "bundle": decision.bundle}
