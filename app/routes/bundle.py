"""`GET /v1/categories`, `GET /v1/bundle` and `POST /v1/bundle/reload`."""

from fastapi import APIRouter

from app.dependencies import EngineDep
from app.errors import ServiceError, problem_examples
from app.policy import policy
from app.schemas import BundleInfo, Category
from models.bundle_header import BundleHeader
from models.errors import BundleError

router = APIRouter(prefix="/v1", tags=["bundle"])


@router.get("/categories", responses=problem_examples("unauthorized"))
async def categories(engine: EngineDep) -> list[Category]:
    """List the categories that can be requested, and their experts."""
    bundle = engine.ensemble.bundle
    return [
        Category(name=name, expert=expert, fallback=name == bundle.router.fallback)
        for name, expert in bundle.manifest.categories.items()
    ]


@router.get("/bundle", responses=problem_examples("unauthorized"))
async def bundle(engine: EngineDep) -> BundleInfo:
    """Return the manifest of the bundle that is served, with the card of every checkpoint."""
    return _info(engine.ensemble.bundle)


@router.post("/bundle/reload", responses=problem_examples("bad-bundle", "unauthorized", "forbidden"))
@policy(requires_admin=True)
async def reload(engine: EngineDep) -> BundleInfo:
    """Serve the bundle that is in the folder now. Requests in progress finish on the old bundle; a bad bundle changes nothing.

    It needs the key of an administrator. A request during a reload is answered with the result of that one.
    """
    try:
        return _info(await engine.reload())
    except BundleError as error:
        raise ServiceError("bad-bundle", f"{error} The old bundle is still served.") from error


def _info(bundle: BundleHeader) -> BundleInfo:
    return BundleInfo(bundle=bundle.label, digest=bundle.digest, manifest=bundle.manifest.model_dump(mode="json"))
