"""The application factory."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

from fastapi import FastAPI, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from starlette.formparsers import MultiPartParser

from app.body_limit import BodyLimit
from app.engine import Engine
from app.errors import add_error_handlers
from app.guard import Guard
from app.jobs import Jobs
from app.keys import Gate, read_keys
from app.metrics import Metrics
from app.observed import Observed
from app.openapi import describe
from app.pressure import Pressure
from app.routes import batch, bundle, colorize, health, page
from app.routes import jobs as job_routes
from app.routes import survey as survey_routes
from app.settings import Settings, load_settings
from app.survey import Survey
from models.errors import ChromarouteError

SPOOL = 128 * 1024  # bytes of an upload that stay in memory; a batch may have a thousand of them

log = logging.getLogger("chromaroute")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service, with its bundle loaded; it is ready once the networks were warmed, shortly after it has started.

    Raises:
        SettingsError: a setting is not valid, the keys cannot be read, or jobs cannot be kept: see `app.jobs.Jobs`.
        BundleError: the bundle cannot be served; the message says which file or field is wrong.
        SurveyError: the survey cannot be served.
    """
    settings = settings or load_settings()
    MultiPartParser.spool_max_size = SPOOL
    metrics = Metrics()
    gate = Gate(read_keys(settings.keys)) if settings.keys else None
    engine = Engine(settings, metrics)
    jobs = Jobs(settings, engine) if settings.jobs else None
    survey = Survey(settings.survey, settings.data_dir) if settings.survey else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if jobs is not None:
            await jobs.start()
        warming = asyncio.create_task(engine.warm())
        with _reloads_on_hangup(engine, gate, settings):
            yield
        engine.drain()
        await warming
        if jobs is not None:
            await jobs.stop()
        engine.close()

    app = FastAPI(
        title="Chromaroute",
        version=version("chromaroute"),
        summary="Colours black-and-white photographs and says how each was routed.",
        lifespan=lifespan,
        docs_url=None,  # the page of routes/page.py comes from the package instead of from another host
        redoc_url=None,
        form_limits={"max_files": settings.max_items + 1},  # one more than are taken, so that it is we who refuse
    )
    app.state.engine, app.state.metrics, app.state.jobs, app.state.survey = engine, metrics, jobs, survey
    # the last one added sees a request first
    app.add_middleware(Pressure, max_requests=settings.max_requests, deadline=settings.deadline, metrics=metrics)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Guard, gate=gate, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Idempotency-Key", "Last-Event-ID", "X-Request-ID"],
            expose_headers=["*"],
        )
    app.add_middleware(Observed, metrics=metrics, shared=bool(settings.cors_origins))
    add_error_handlers(app)
    key = [Security(HTTPBearer(auto_error=False))] if gate is not None else []  # for OpenAPI; Guard has checked it before
    for routes in (colorize, batch, job_routes, bundle):
        app.include_router(routes.router, dependencies=key)
    for routes in (health, page):
        app.include_router(routes.router)
    if survey is not None:
        app.include_router(survey_routes.router)
    page.mount(app)
    describe(app, engine)
    return app


@contextmanager
def _reloads_on_hangup(engine: Engine, gate: Gate | None, settings: Settings) -> Iterator[None]:
    """SIGHUP reads the bundle and the keys again, where there is such a signal and this is the thread that hears it."""

    async def read_again() -> None:
        if gate is not None and settings.keys:
            gate.keys = await asyncio.to_thread(read_keys, settings.keys)
            log.info("%d keys are in force", len(gate.keys))

    async def again() -> None:
        for what, read in (("keys", read_again), ("bundle", engine.reload)):
            try:
                await read()
            except ChromarouteError as error:
                log.error("not reloaded, the %s: %s", what, error)
            except Exception:
                log.exception("not reloaded, the %s", what)

    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def heard() -> None:
        task = loop.create_task(again())
        running.add(task)
        task.add_done_callback(running.discard)

    loop.add_signal_handler(signal.SIGHUP, heard)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
