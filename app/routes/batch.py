"""`POST /v1/colorize/batch`."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import StreamingResponse

from app.batches.results import ZIP_HEADERS, stream_results
from app.batches.uploads import read_items
from app.dependencies import BatchOptionsDep, BundleDep, EngineDep
from app.errors import problem_examples
from app.policy import Cost, policy
from app.routes.colorize import UPLOAD_TYPES
from app.schemas import BatchOptions

router = APIRouter(prefix="/v1", tags=["several pictures"])

EXPECTED = "send pictures as multipart/form-data: curl -F files=@1.jpg -F files=@2.jpg, or -F archive=@box.zip"

Files = Annotated[list[UploadFile] | None, File(description="pictures, in repeated fields of this name")]
Archive = Annotated[UploadFile | None, File(description="a ZIP archive of pictures, instead of files")]

HINTS_BY_NAME = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": BatchOptions.model_fields["hints"].description,
}
FILES_BODY: dict[str, object] = {  # what type hints cannot express
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "oneOf": [{"required": ["files"]}, {"required": ["archive"]}],
                    "properties": {"hints": HINTS_BY_NAME},
                },
                "encoding": {"files": {"contentType": ", ".join(UPLOAD_TYPES)}, "archive": {"contentType": "application/zip"}},
            }
        },
    }
}
ZIP_RESPONSE: dict[str, object] = {
    "description": "a ZIP archive: every output under its own name, and `decisions.json`, a list of records",
    "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
}
PROBLEMS = (
    "bad-request", "bad-option", "broken-archive", "too-large", "unauthorized", "too-many-requests", "overloaded", "slow-client",
    "bundle-changed",
)  # fmt: skip


@router.post(
    "/colorize/batch",
    response_class=StreamingResponse,
    responses={200: ZIP_RESPONSE, **problem_examples(*PROBLEMS)},
    openapi_extra=FILES_BODY,
)
@policy(cost=Cost.BATCH, expects=EXPECTED)
async def batch(
    engine: EngineDep, bundle: BundleDep, options: BatchOptionsDep, files: Files = None, archive: Archive = None
) -> StreamingResponse:
    """Colorize several pictures; the ZIP archive is streamed as they finish. A bad picture only affects its own record."""
    (await engine.header(bundle)).router.check(options.category)
    items = await asyncio.to_thread(read_items, files or (), archive, engine.settings)
    options.check_names(item.name for item in items)
    return StreamingResponse(stream_results(engine, items, options, bundle), media_type="application/zip", headers=ZIP_HEADERS)
