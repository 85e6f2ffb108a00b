"""The application factory."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import Depends, FastAPI, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from starlette.formparsers import MultiPartParser

from app.api_keys import ApiKeyStore, Key, check_bundles, read_keys
from app.dependencies import refuse_unknown_query
from app.errors import add_error_handlers
from app.inference.engine import Engine, Load
from app.jobs.folder_lock import LocksUnsupported
from app.jobs.queue import JobQueue
from app.metrics import Metrics
from app.middleware.access_log import AccessLog
from app.middleware.admission import Admission
from app.middleware.auth import Auth
from app.middleware.body_limit import BodyLimit
from app.middleware.cross_site import CrossSite
from app.middleware.deadline import Deadline
from app.middleware.route_policy import RoutePolicyLookup
from app.middleware.slow_clients import SlowClients
from app.openapi import add_examples
from app.routes import batch, bundle, colorize, colors, health, page, variants
from app.routes import jobs as job_routes
from app.routes import survey as survey_routes
from app.settings import Settings, load_settings
from app.survey.store import Survey
from app.tracing import Tracing, configure_tracing
from models.errors import ChromarouteError

SPOOL_BYTES = 128 * 1024  # of an upload that stay in memory; a batch may have a thousand uploads

log = logging.getLogger("chromaroute")


def create_app(settings: Settings | None = None, load: Load | None = None) -> FastAPI:
    """The service with its bundle loaded. It is ready shortly after it has started, once the networks are warmed up.

    Args:
        settings: those of the environment if not given.
        load: makes the ensemble of the bundle in a folder; by default in this process.

    Raises:
        SettingsError: a setting is not valid, the keys cannot be read, or jobs cannot be stored: see `app.jobs.queue.JobQueue`.
        BundleError: the bundle cannot be loaded.
        SurveyError: the survey cannot be served.
    """
    settings = settings or load_settings()
    configure_tracing()
    MultiPartParser.spool_max_size = SPOOL_BYTES  # the parser has no other way to configure it
    metrics = Metrics()
    keys = ApiKeyStore(_read_keys(settings.keys, settings)) if settings.keys else None
    engine = Engine(settings, metrics, load)
    jobs = _open_jobs(settings, engine) if settings.jobs else None
    survey = Survey(settings.survey, settings.data_dir) if settings.survey else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if jobs is not None:
            await jobs.start()
        warm_up = asyncio.create_task(engine.warm_up())
        with _reload_on_sighup(engine, keys, settings):
            yield
        engine.drain()
        await warm_up
        if jobs is not None:
            await jobs.stop()
        engine.close()

    app = FastAPI(
        title="Chromaroute",
        version=version("chromaroute"),
        summary="Colorizes black-and-white photographs and says how each was routed.",
        lifespan=lifespan,
        docs_url=None,  # the page in routes/page.py loads nothing from other hosts
        redoc_url=None,
        form_limits={"max_files": settings.max_items + 1},  # one more than allowed, so that our own check refuses it
    )
    app.state.engine, app.state.metrics, app.state.jobs, app.state.survey = engine, metrics, jobs, survey
    keyed = [colorize.router, colors.router, variants.router, batch.router, job_routes.router, bundle.router]
    open_ = [health.router, page.router, *([survey_routes.router] if survey is not None else [])]
    # the middleware that is added last sees a request first
    app.add_middleware(Deadline, seconds=settings.deadline, metrics=metrics)
    app.add_middleware(SlowClients, timeout=settings.deadline, metrics=metrics)
    app.add_middleware(Admission, max_requests=settings.max_requests, metrics=metrics)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Auth, keys=keys, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=[
                "Authorization",
                "Idempotency-Key",
                "If-None-Match",
                "If-Range",
                "Last-Event-ID",
                "Range",
                "X-Request-ID",
            ],
            expose_headers=["*"],
        )
    app.add_middleware(CrossSite, origins=settings.cors_origins, hosts=settings.hosts)
    app.add_middleware(AccessLog, metrics=metrics, cross_origin=bool(settings.cors_origins))
    app.add_middleware(Tracing)
    app.add_middleware(RoutePolicyLookup, routes=[route for router in (*keyed, *open_) for route in router.routes])
    add_error_handlers(app)
    bearer = [Security(HTTPBearer(auto_error=False))] if keys is not None else []  # for OpenAPI; the middleware checks the key
    for router in keyed:
        app.include_router(router, dependencies=[*bearer, Depends(refuse_unknown_query)])
    for router in open_:
        app.include_router(router)
    page.mount_static_files(app)
    add_examples(app, engine)
    return app


def _read_keys(path: Path, settings: Settings) -> list[Key]:
    keys = read_keys(path)
    check_bundles(keys, settings)
    return keys


def _open_jobs(settings: Settings, engine: Engine) -> JobQueue | None:
    """The job queue; None, with a warning, where there are no file locks."""
    try:
        return JobQueue(settings, engine)
    except LocksUnsupported as error:
        log.warning("jobs are disabled: %s", error)
        return None


@contextmanager
def _reload_on_sighup(engine: Engine, keys: ApiKeyStore | None, settings: Settings) -> Iterator[None]:
    """Reload keys and bundle at SIGHUP, where the signal exists and this thread can handle it."""

    async def reload_keys() -> None:
        if keys is not None and settings.keys:
            keys.keys = await asyncio.to_thread(read_keys, settings.keys)
            log.info("%d keys are loaded", len(keys.keys))
            await asyncio.to_thread(check_bundles, keys.keys, settings)  # afterwards: revoked keys must not work any longer

    async def reload() -> None:
        for name, load in (("keys", reload_keys), ("bundle", engine.reload)):
            try:
                await load()
            except ChromarouteError as error:
                log.error("the %s was not reloaded: %s", name, error)
            except Exception:
                log.exception("the %s was not reloaded", name)

    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def handle_sighup() -> None:
        task = loop.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, handle_sighup)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
