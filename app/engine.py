"""The one place where requests meet the networks: one thread runs them, a few decode and encode beside it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np
import torch

from app.settings import Settings
from models import imaging
from models.bundle import load_bundle
from models.ensemble import Decision, Ensemble, Options, Stopwatch, finish
from models.imaging import Picture
from models.runtime import Runtime

Read = Callable[[], Awaitable[bytes]]
Result = TypeVar("Result")

log = logging.getLogger("uvicorn.error")


class Engine:
    """An ensemble that serves concurrent requests.

    The networks run one picture at a time, because one picture fills the cores. So few requests are worked on at once (one more
    than there are threads) that memory stays bounded; the others wait with their upload on the disk.

    Raises:
        BundleError: the bundle cannot be served.
        OptionError: this torch has no such device.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.ensemble = Ensemble(load_bundle(settings.bundle), Runtime(settings.device, settings.precision))
        self.ready = False
        places = torch.get_num_threads() + 1
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._pictures = ThreadPoolExecutor(places, thread_name_prefix="pictures")
        self._places = asyncio.Semaphore(places)

    async def warm(self) -> None:
        """Run every expert once, so that the first request is as fast as the second; the engine is ready then.

        A bundle that loads and cannot run ends the process: it would never be ready.
        """
        grey = Picture(np.full((128, 128), 128, np.uint8), None, "PNG")
        categories = self.ensemble.bundle.manifest.categories
        try:
            for category in {expert: category for category, expert in categories.items()}.values():
                await self._run(self._network, self.ensemble.paint, grey, Options(category=category))
        except Exception:
            log.exception("the bundle %s cannot run", self.ensemble.bundle.label)
            signal.raise_signal(signal.SIGTERM)
        else:
            self.ready = True

    async def colorize(self, read: Read, options: Options) -> tuple[bytes, str, Decision]:
        """The picture that `read` brings in colour, its format, and the decision record.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
        """
        async with self._decoded(read, options) as (picture, decoding):
            ab, decision = await self._run(self._network, self.ensemble.paint, picture, options)
            return await self._run(self._pictures, finish, picture, ab, decision.after(decoding), options)

    async def route(self, read: Read, options: Options) -> Decision:
        """Where the picture would go.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
        """
        async with self._decoded(read, options) as (picture, decoding):
            decision = await self._run(self._network, self.ensemble.route, picture, options)
            return decision.after(decoding)

    def close(self) -> None:
        """Finish what is running and take nothing more."""
        self.ready = False
        self._network.shutdown()
        self._pictures.shutdown()

    @asynccontextmanager
    async def _decoded(self, read: Read, options: Options) -> AsyncIterator[tuple[Picture, Stopwatch]]:
        """The decoded picture, for as long as one of the few places is held."""
        self.ensemble.bundle.router.check(options.category)
        async with self._places:
            yield await self._run(self._pictures, _decode, await read(), self.settings.max_pixels, options.format)

    @staticmethod
    async def _run(pool: ThreadPoolExecutor, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


def _decode(content: bytes, max_pixels: int, format: str) -> tuple[Picture, Stopwatch]:
    watch = Stopwatch()
    with watch.stage("decode"):
        picture = imaging.decode(content, max_pixels, format)
    return picture, watch
