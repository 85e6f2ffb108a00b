"""The application factory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi_swagger import patch_fastapi

from app.body_limit import BodyLimit
from app.engine import Engine
from app.errors import add_error_handlers
from app.routes import bundle, colorize, health, page
from app.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service, with its bundle loaded; it is ready once the networks were warmed, shortly after it has started.

    Raises:
        SettingsError: a setting is not valid.
        BundleError: the bundle cannot be served; the message says which file or field is wrong.
    """
    settings = settings or load_settings()
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(engine.warm())
        yield
        await warming
        engine.close()

    app = FastAPI(
        title="Chromaroute",
        version=version("chromaroute"),
        summary="Colours black-and-white photographs and says how each was routed.",
        lifespan=lifespan,
        docs_url=None,  # patch_fastapi serves the same page from the package instead of from another host
        swagger_ui_oauth2_redirect_url=None,
        redoc_url=None,
    )
    app.state.engine = engine
    app.add_middleware(BodyLimit, max_bytes=settings.max_bytes)
    add_error_handlers(app)
    for routes in (colorize, bundle, health, page):
        app.include_router(routes.router)
    app.mount("/web", page.files())
    patch_fastapi(app, redirect_from_root_to_docs=False)
    return app
