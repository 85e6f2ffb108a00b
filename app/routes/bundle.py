"""`GET /v1/categories` and `GET /v1/bundle`."""

from fastapi import APIRouter, Request

from app.engine import Engine
from app.schemas import BundleInfo, Category

router = APIRouter(prefix="/v1", tags=["bundle"])


@router.get("/categories")
async def categories(request: Request) -> list[Category]:
    """What can be asked for, and which expert paints it."""
    engine: Engine = request.app.state.engine
    bundle = engine.ensemble.bundle
    return [
        Category(name=name, expert=expert, fallback=name == bundle.router.fallback)
        for name, expert in bundle.manifest.categories.items()
    ]


@router.get("/bundle")
async def bundle(request: Request) -> BundleInfo:
    """The bundle that is served: its manifest, with a card for every checkpoint."""
    engine: Engine = request.app.state.engine
    served = engine.ensemble.bundle
    return BundleInfo(bundle=served.label, digest=served.digest, manifest=served.manifest.model_dump(mode="json"))
