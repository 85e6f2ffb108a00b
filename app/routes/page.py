"""The page at `/`: plain files of the package, no build step, no other host."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).parent.parent / "web"


@router.api_route("/", methods=["GET", "HEAD"])
async def index() -> FileResponse:
    return FileResponse(WEB / "index.html")


def files() -> StaticFiles:
    """The page's style and script."""
    return StaticFiles(directory=WEB)
