"""`GET /v1/categories`, `GET /v1/bundle` and `POST /v1/bundle/reload`."""

from fastapi import APIRouter, Request

from app.engine import Engine
from app.errors import ServiceError, documented
from app.schemas import BundleInfo, Category
from models.bundle import Bundle
from models.errors import BundleError

router = APIRouter(prefix="/v1", tags=["bundle"])


@router.get("/categories", responses=documented("no-key"))
async def categories(request: Request) -> list[Category]:
    """What can be asked for, and which expert paints it."""
    engine: Engine = request.app.state.engine
    bundle = engine.ensemble.bundle
    return [
        Category(name=name, expert=expert, fallback=name == bundle.router.fallback)
        for name, expert in bundle.manifest.categories.items()
    ]


@router.get("/bundle", responses=documented("no-key"))
async def bundle(request: Request) -> BundleInfo:
    """The bundle that is served: its manifest, with a card for every checkpoint."""
    engine: Engine = request.app.state.engine
    return _info(engine.ensemble.bundle)


@router.post("/bundle/reload", responses=documented("bad-bundle", "no-key"))
async def reload(request: Request) -> BundleInfo:
    """Serve the bundle that is in the folder now. Requests that have begun end with the old one; a bad bundle changes nothing."""
    engine: Engine = request.app.state.engine
    try:
        return _info(await engine.reload())
    except BundleError as error:
        raise ServiceError("bad-bundle", f"{error} The old bundle is served on.") from error


def _info(served: Bundle) -> BundleInfo:
    return BundleInfo(bundle=served.label, digest=served.digest, manifest=served.manifest.model_dump(mode="json"))
