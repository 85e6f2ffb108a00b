"""`GET /livez`, `/readyz` and `/metrics`."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.engine import Engine
from app.errors import documented
from app.metrics import Metrics
from app.schemas import Status

router = APIRouter(tags=["health"])


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> Status:
    """The process answers."""
    return Status(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Status, "description": "warming, or draining before the end"}})
async def readyz(request: Request, response: Response) -> Status:
    """The bundle is loaded and warmed, and the process is not about to end; 503 otherwise."""
    engine: Engine = request.app.state.engine
    if not engine.ready:
        response.status_code = 503
    return Status(status="ready" if engine.ready else "draining" if engine.draining else "warming")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented("no-key")},
)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)
