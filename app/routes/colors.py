"""`POST /v1/colors`."""

from fastapi import APIRouter, Request, UploadFile

from app.dependencies import BundleDep, EngineDep, PointOptionsDep
from app.routes.colorize import FILE_BODY, PROBLEMS, log_decision, picture_policy
from app.schemas import PlausibleColors

router = APIRouter(prefix="/v1", tags=["one picture"])


@router.post("/colors", responses=PROBLEMS, openapi_extra=FILE_BODY)
@picture_policy
async def colors(
    request: Request, engine: EngineDep, bundle: BundleDep, options: PointOptionsDep, file: UploadFile
) -> PlausibleColors:
    """Return the colors that the point `x`, `y` of a picture may have, most probable first, to choose a hint from."""
    colors, decision = await engine.plausible_colors(file.read, options, bundle)
    log_decision(request, decision)
    return PlausibleColors(colors=colors, decision=decision)
