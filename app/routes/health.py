"""`GET /livez`, `/readyz` and `/metrics`."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.dependencies import EngineDep, MetricsDep
from app.errors import problem_examples
from app.policy import policy
from app.schemas import Status

router = APIRouter(tags=["health"])


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
@policy(requires_key=False)
async def livez() -> Status:
    """Return 200 while the process answers."""
    return Status(status="alive")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Status, "description": "warming up, stalled, or shutting down"}})
@policy(requires_key=False)
async def readyz(engine: EngineDep, response: Response) -> Status:
    """Return 200 if the bundle is warmed up, pictures are decoded, and the process is not shutting down; otherwise 503."""
    if engine.state != "ready":
        response.status_code = 503
    return Status(status=engine.state)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problem_examples("unauthorized")},
)
async def metrics(metrics: MetricsDep) -> Response:
    """Return the metrics for Prometheus."""
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
