"""`GET /v1/categories`, `GET /v1/bundle` and `POST /v1/bundle/reload`."""

from fastapi import APIRouter

from app.dependencies import BundleDep, EngineDep
from app.errors import ServiceError, problem_examples
from app.policy import policy
from app.schemas import BundleInfo, Category
from models.bundle_header import BundleHeader
from models.errors import BundleError

router = APIRouter(prefix="/v1", tags=["bundle"])


@router.get("/categories", responses=problem_examples("unauthorized", "bundle-changed"))
async def categories(engine: EngineDep, bundle: BundleDep) -> list[Category]:
    """List the categories that can be requested, and their experts."""
    header = await engine.header(bundle)
    return [
        Category(name=name, expert=expert, fallback=name == header.router.fallback)
        for name, expert in header.manifest.categories.items()
    ]


@router.get("/bundle", responses=problem_examples("unauthorized", "bundle-changed"))
async def bundle(engine: EngineDep, bundle: BundleDep) -> BundleInfo:
    """Return the manifest of the bundle that colorizes for this API key, with the card of every checkpoint."""
    return _info(await engine.header(bundle))


@router.post("/bundle/reload", responses=problem_examples("bad-bundle", "unauthorized", "forbidden"))
@policy(requires_admin=True)
async def reload(engine: EngineDep) -> BundleInfo:
    """Serve the bundle that is in the folder now. Requests in progress finish on the old bundle; a bad bundle changes nothing.

    The bundles of API keys are loaded anew too if they have changed; a bad one of them is logged.

    It needs the key of an administrator. A request during a reload is answered with the result of that one.
    """
    try:
        return _info(await engine.reload())
    except BundleError as error:
        raise ServiceError("bad-bundle", f"{error} The old bundle is still served.") from error


def _info(bundle: BundleHeader) -> BundleInfo:
    return BundleInfo(bundle=bundle.label, digest=bundle.digest, manifest=bundle.manifest.model_dump(mode="json"))
