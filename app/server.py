"""Runs uvicorn with a graceful shutdown: SIGTERM first turns /readyz to 503, then closes the socket, then finishes requests."""

import asyncio
import math
import signal
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.http_protocol import http_protocol
from app.inference.engine import Engine
from app.settings import Settings


class Server(uvicorn.Server):
    """Accepts requests for a moment after SIGTERM, so that load balancers notice that it is not ready.

    A second signal, or SIGINT, closes the socket at once.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine, drain: float) -> None:
        super().__init__(config)
        self._engine, self._drain = engine, drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal as uvicorn does, after the drain period."""
        if sig == signal.SIGTERM and self._drain and not self._engine.draining:
            self._engine.drain()
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self._drain, super().handle_exit, sig, frame)
        else:
            self._engine.drain()
            super().handle_exit(sig, frame)


def _raise_file_limit() -> None:
    """Each waiting item of a batch is an open file."""
    if sys.platform == "win32":  # has no such limit
        return
    import resource

    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems report a limit that they do not accept
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def run_server(app: FastAPI, settings: Settings, host: str, port: int) -> None:
    """Serve until a signal arrives and the requests in progress are answered."""
    _raise_file_limit()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        server_header=False,
        http=http_protocol(app.state.metrics),
        ws="none",
        access_log=False,  # app/middleware/access_log.py writes it
        log_config=None,  # see app/logs.py
        timeout_graceful_shutdown=math.ceil(settings.deadline) + 5,
    )
    Server(config, app.state.engine, settings.drain).run()
