"""`POST /v1/colorize/variants`."""

import asyncio
import base64

from fastapi import APIRouter, Request, UploadFile

from app.dependencies import BundleDep, EngineDep, VariantOptionsDep
from app.routes.colorize import FILE_BODY, PROBLEMS, log_decision, picture_policy
from app.schemas import ColorizedImage, Variants
from models.imaging import WRITES

router = APIRouter(prefix="/v1", tags=["one picture"])


@router.post("/colorize/variants", responses=PROBLEMS, openapi_extra=FILE_BODY)
@picture_policy
async def variants(
    request: Request, engine: EngineDep, bundle: BundleDep, options: VariantOptionsDep, file: UploadFile
) -> Variants:
    """Colorize a picture as each of the most probable categories that have different experts, to choose from, in a small size.

    The networks see the picture once, so that this takes little longer than colorizing it once.
    """
    rendered = await engine.variants(file.read, options, bundle)
    log_decision(request, rendered[0][2])
    images = await asyncio.to_thread(lambda: [base64.b64encode(content).decode() for content, _, _ in rendered])
    return Variants(
        variants=[
            ColorizedImage(decision=decision, media_type=WRITES[format], image=image)
            for (_, format, decision), image in zip(rendered, images, strict=True)
        ]
    )
