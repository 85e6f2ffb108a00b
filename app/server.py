"""uvicorn, with an end in good order: after SIGTERM /readyz says 503 first, then listening ends, then the last answers leave."""

import asyncio
import math
import signal
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.engine import Engine
from app.settings import Settings


class Server(uvicorn.Server):
    """Listens on for a moment after SIGTERM, so that a load balancer sees that this process is not ready any more.

    A second signal, or SIGINT from a terminal, ends listening at once.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine, drain: float) -> None:
        super().__init__(config)
        self._engine, self._drain = engine, drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What uvicorn does at a signal, after the moment that a drain takes."""
        if sig == signal.SIGTERM and self._drain and not self._engine.draining:
            self._engine.drain()
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, self._drain, super().handle_exit, sig, frame)
        else:
            self._engine.drain()
            super().handle_exit(sig, frame)


def _open_many_files() -> None:
    """As many as the system lets us: each picture of a batch that waits is a file."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems give a limit that they do not take
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run_server(app: FastAPI, settings: Settings, host: str, port: int) -> None:
    """Serve until a signal comes, and then until what is in flight has been answered."""
    _open_many_files()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        server_header=False,
        access_log=False,  # app/observed.py writes it
        log_config=None,  # app/logs.py did it
        timeout_graceful_shutdown=math.ceil(settings.deadline) + 5,
    )
    Server(config, app.state.engine, settings.drain).run()
