"""`POST /v1/colorize` and `POST /v1/route`."""

import asyncio
import base64
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response, UploadFile

from app.engine import Engine
from app.errors import documented
from app.schemas import ColorizeQuery, Coloured, RouteQuery
from models.ensemble import Decision
from models.imaging import WRITES

router = APIRouter(prefix="/v1", tags=["colour"])

UPLOADS = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "image/gif")
PICTURE = {"requestBody": {"content": {"multipart/form-data": {"encoding": {"file": {"contentType": ", ".join(UPLOADS)}}}}}}
PROBLEMS = documented(
    "bad-request", "bad-option", "broken-picture", "not-a-picture", "too-large",
    "no-key", "too-many-requests", "busy", "experts-changed", "late",
)  # fmt: skip


@router.post(
    "/colorize",
    response_class=Response,
    responses={
        200: {
            "description": "the picture in colour; with `Accept: application/json`, the decision record and the picture in base64",
            "model": Coloured,
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in WRITES.values()},
        },
        **PROBLEMS,
    },
    openapi_extra=PICTURE,
)
async def colorize(request: Request, file: UploadFile, query: Annotated[ColorizeQuery, Query()]) -> Response:
    """Colour a picture; its size and its luma stay what they are."""
    engine: Engine = request.app.state.engine
    content, format, decision = await engine.colorize(file.read, query.options())
    request.scope["decided"] = {"category": decision.category, "reason": decision.reason, "bundle": decision.bundle}
    if wants_json(request.headers.get("accept", "")):
        body = await asyncio.to_thread(_json, content, format, decision)
        return Response(body, media_type="application/json", headers=headers(decision))
    return Response(content, media_type=WRITES[format], headers=headers(decision))


@router.post("/route", responses=PROBLEMS, openapi_extra=PICTURE)
async def route(request: Request, response: Response, file: UploadFile, query: Annotated[RouteQuery, Query()]) -> Decision:
    """Say where a picture would go and why, without painting it."""
    engine: Engine = request.app.state.engine
    decision = await engine.route(file.read, query.options())
    request.scope["decided"] = {"category": decision.category, "reason": decision.reason, "bundle": decision.bundle}
    response.headers.update(headers(decision))
    return decision


def _json(content: bytes, format: str, decision: Decision) -> str:
    image = base64.b64encode(content).decode()
    return Coloured(decision=decision, media_type=WRITES[format], image=image).model_dump_json()


def wants_json(accept: str) -> bool:
    """Whether an Accept header names JSON, and does not refuse it by a weight of 0."""
    for item in accept.lower().split(","):
        media, *parameters = (part.replace(" ", "") for part in item.split(";"))
        if media == "application/json":
            return not any(part.startswith("q=0") and not part.strip("q=0.") for part in parameters)
    return False


def headers(decision: Decision) -> dict[str, str]:
    """The decision record in short. Names are percent-encoded where a header could not hold them."""
    return {
        "X-Chromaroute-Category": quote(decision.category, safe=" "),
        "X-Chromaroute-Confidence": f"{decision.confidence:.4f}",
        "X-Chromaroute-Fallback": str(decision.fell_back).lower(),
        "X-Chromaroute-Expert": ", ".join(quote(expert.name, safe=" ") for expert in decision.experts),
        "X-Chromaroute-Bundle": decision.bundle,
        "Server-Timing": ", ".join(f"{stage};dur={time}" for stage, time in decision.timings_ms.items()),
    }
