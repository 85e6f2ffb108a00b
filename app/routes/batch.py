"""`POST /v1/colorize/batch`."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import StreamingResponse

from app.batch import zipped
from app.engine import Engine
from app.errors import documented
from app.parcels import unpack
from app.routes.colorize import UPLOADS
from app.schemas import ColorizeQuery

router = APIRouter(prefix="/v1", tags=["many pictures"])

Files = Annotated[list[UploadFile] | None, File(description="pictures, each in a field of this name")]
Archive = Annotated[UploadFile | None, File(description="a zip of pictures, instead of files")]

PARCEL: dict[str, object] = {  # what type hints cannot say of the form
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"oneOf": [{"required": ["files"]}, {"required": ["archive"]}]},
                "encoding": {"files": {"contentType": ", ".join(UPLOADS)}, "archive": {"contentType": "application/zip"}},
            }
        },
    }
}
ZIP: dict[str, object] = {
    "description": "a zip: every picture under its own name, and `decisions.json`, a list with a record or a problem of each",
    "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
}
PROBLEMS = ("bad-request", "bad-option", "broken-archive", "too-large", "no-key", "too-many-requests", "busy", "slow-client")


@router.post(
    "/colorize/batch", response_class=StreamingResponse, responses={200: ZIP, **documented(*PROBLEMS)}, openapi_extra=PARCEL
)
async def batch(
    request: Request, query: Annotated[ColorizeQuery, Query()], files: Files = None, archive: Archive = None
) -> StreamingResponse:
    """Colour many pictures; the zip leaves while they are painted. A bad picture is its own problem."""
    engine: Engine = request.app.state.engine
    engine.ensemble.bundle.router.check(query.options().category)
    items = await asyncio.to_thread(unpack, files or (), archive, engine.settings)
    headers = {"Content-Disposition": 'attachment; filename="coloured.zip"'}
    return StreamingResponse(zipped(engine, items, query.options()), media_type="application/zip", headers=headers)
