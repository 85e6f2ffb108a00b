"""The one place where requests meet the networks: one thread runs them, a few decode and encode beside it."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.to_thread
import numpy as np
import torch

from app.settings import Settings
from models import imaging
from models.bundle import load_bundle
from models.ensemble import Decision, Ensemble, Options, Stopwatch, finish
from models.imaging import Picture
from models.runtime import Runtime


class Engine:
    """An ensemble that serves concurrent requests.

    The networks run one picture at a time, because one picture fills the cores; decoding and encoding are limited to a thread a
    core, which bounds how many pictures are in memory at full size.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.ensemble = Ensemble(load_bundle(settings.bundle), Runtime(settings.device, settings.precision))
        self.ready = False
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._pictures = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def warm(self) -> None:
        """Run every expert once, so that the first request is as fast as the second; the engine is ready then."""
        grey = Picture(np.full((128, 128), 128, np.uint8), None, "PNG")
        for category in self.ensemble.bundle.manifest.categories:
            await self._run(grey, Options(category=category))
        self.ready = True

    async def colorize(self, content: bytes, options: Options) -> tuple[bytes, str, Decision]:
        """The picture in colour, its format, and the decision record.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
        """
        picture, decoding = await self._decode(content)
        ab, decision = await self._run(picture, options)
        decision = decision.after(decoding)
        return await anyio.to_thread.run_sync(finish, picture, ab, decision, options, limiter=self._pictures)

    async def route(self, content: bytes, options: Options) -> Decision:
        """Where the picture would go.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
        """
        picture, decoding = await self._decode(content)
        decision = await asyncio.get_running_loop().run_in_executor(self._network, self.ensemble.route, picture, options)
        return decision.after(decoding)

    def close(self) -> None:
        """Finish what is running and take nothing more."""
        self.ready = False
        self._network.shutdown()

    async def _run(self, picture: Picture, options: Options) -> tuple[torch.Tensor, Decision]:
        return await asyncio.get_running_loop().run_in_executor(self._network, self.ensemble.paint, picture, options)

    async def _decode(self, content: bytes) -> tuple[Picture, Stopwatch]:
        watch = Stopwatch()
        with watch.stage("decode"):
            decode = imaging.decode
            picture = await anyio.to_thread.run_sync(decode, content, self.settings.max_pixels, limiter=self._pictures)
        return picture, watch
