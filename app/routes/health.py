"""`GET /livez` and `GET /readyz`."""

from fastapi import APIRouter, Request, Response

from app.engine import Engine
from app.schemas import Status

router = APIRouter(tags=["health"])


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> Status:
    """The process answers."""
    return Status(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Status}})
async def readyz(request: Request, response: Response) -> Status:
    """The bundle is loaded and warmed; 503 until then."""
    engine: Engine = request.app.state.engine
    if not engine.ready:
        response.status_code = 503
    return Status(status="ready" if engine.ready else "warming")
