"""The one place where requests meet the networks: one thread runs them, a few decode and encode beside it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

import numpy as np
import torch

from app.memory import Settling
from app.metrics import Metrics
from app.settings import Settings
from models import imaging
from models.bundle import Bundle, load_bundle
from models.ensemble import Decision, Ensemble, Options, Stopwatch, finish
from models.errors import BundleError
from models.imaging import Picture
from models.runtime import Runtime

Read = Callable[[], Awaitable[bytes]]
Result = TypeVar("Result")

PATIENCE = 0.5  # seconds that background work gives way to people; then it takes its turn, so that it never stands still

log = logging.getLogger("chromaroute")


class Engine:
    """An ensemble that serves concurrent requests.

    The networks run one picture at a time, because one picture fills the cores. So few pictures are worked on at once (one more
    than there are threads) that memory stays bounded; the others wait with their upload on the disk. Background work, which is
    that of batches and jobs, has places of its own and lets people who wait for one picture go first.

    Raises:
        BundleError: the bundle cannot be served.
        OptionError: this torch has no such device.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.metrics = settings, metrics
        self.ensemble = self._loaded()
        self.ready = False
        self.draining = False
        self.places = torch.get_num_threads() + 1
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._pictures = ThreadPoolExecutor(self.places, thread_name_prefix="pictures")
        self._foreground = asyncio.Semaphore(self.places)
        self._background = asyncio.Semaphore(self.places)
        self._people = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._reloading = asyncio.Lock()
        self._settling = Settling()

    async def warm(self) -> None:
        """Run every expert once, so that the first request is as fast as the second; the engine is ready then.

        A bundle that loads and cannot run ends the process: it would never be ready.
        """
        try:
            await self._exercise(self.ensemble)
        except Exception:
            log.exception("the bundle %s cannot run", self.ensemble.bundle.label)
            signal.raise_signal(signal.SIGTERM)
        else:
            self.metrics.serve(self.ensemble.bundle.label)
            self.ready = True

    async def reload(self) -> Bundle:
        """Serve the bundle that is in the folder now; requests that have begun end with the old one.

        Raises:
            BundleError: it cannot be served; the old one serves on.
        """
        async with self._reloading:
            ensemble = await asyncio.to_thread(self._loaded)
            try:
                await self._exercise(ensemble)
            except Exception as error:
                raise BundleError(f"the bundle {ensemble.bundle.label} is whole and cannot run ({error}).") from error
            self.ensemble = ensemble
            self.metrics.serve(ensemble.bundle.label)
            log.info("the bundle %s is served", ensemble.bundle.label)
            return ensemble.bundle

    async def colorize(self, read: Read, options: Options, background: bool = False) -> tuple[bytes, str, Decision]:
        """The picture that `read` brings in colour, its format, and the decision record.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
            CheckpointError: an expert had left memory, and its file is no longer what it was.
        """
        async with self._decoded(read, options, background) as (ensemble, picture, watch):
            ab, decision = await self._run(self._network, ensemble.paint, picture, options)
            content, format, decision = await self._run(self._pictures, finish, picture, ab, decision.after(watch), options)
        self.metrics.decided(decision)
        return content, format, decision

    async def route(self, read: Read, options: Options) -> Decision:
        """Where the picture would go.

        Raises:
            PictureError, OptionError: as `models.ensemble.colorize`.
        """
        async with self._decoded(read, options, background=False) as (ensemble, picture, watch):
            decision = await self._run(self._network, ensemble.route, picture, options)
        self.metrics.decided(decision := decision.after(watch))
        return decision

    def drain(self) -> None:
        """Say that no new requests are wanted; those that come are still answered."""
        self.ready = False
        self.draining = True

    def close(self) -> None:
        """Finish what is running and take nothing more."""
        self.drain()
        self._network.shutdown()
        self._pictures.shutdown()

    def _loaded(self) -> Ensemble:
        bundle = load_bundle(self.settings.bundle, self.settings.expert_bytes)
        return Ensemble(bundle, Runtime(self.settings.device, self.settings.precision))

    async def _exercise(self, ensemble: Ensemble) -> None:
        grey = Picture(np.full((128, 128), 128, np.uint8), None, "PNG")
        categories = ensemble.bundle.manifest.categories
        for category in {expert: category for category, expert in categories.items()}.values():
            await self._run(self._network, ensemble.paint, grey, Options(category=category))

    @asynccontextmanager
    async def _decoded(self, read: Read, options: Options, background: bool) -> AsyncIterator[tuple[Ensemble, Picture, Stopwatch]]:
        """The ensemble of this moment and the decoded picture, for as long as one of the few places is held."""
        ensemble, watch = self.ensemble, Stopwatch()
        ensemble.bundle.router.check(options.category)
        async with AsyncExitStack() as stack:
            with watch.stage("wait"):
                await stack.enter_async_context(self._behind_people() if background else self._as_people_do())
            arguments = await read(), self.settings.max_pixels, options.format, watch
            picture = await self._run(self._pictures, _decode, *arguments)
            del arguments  # the upload; the picture is large enough
            try:
                yield ensemble, picture, watch
            finally:
                self._settling.touch()

    @asynccontextmanager
    async def _as_people_do(self) -> AsyncIterator[None]:
        self._people += 1
        self._quiet.clear()
        try:
            with self.metrics.waiting.track_inprogress():
                await self._foreground.acquire()
            try:
                yield
            finally:
                self._foreground.release()
        finally:
            self._people -= 1
            if not self._people:
                self._quiet.set()

    @asynccontextmanager
    async def _behind_people(self) -> AsyncIterator[None]:
        async with self._background:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), PATIENCE)
            yield

    @staticmethod
    async def _run(pool: ThreadPoolExecutor, work: Callable[..., Result], *arguments: object) -> Result:
        job = pool.submit(work, *arguments)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancelled():  # a thread cannot be stopped: its place is taken until this stage has ended
                with suppress(Exception):
                    await asyncio.shield(asyncio.wrap_future(job))
            raise


def _decode(content: bytes, max_pixels: int, format: str, watch: Stopwatch) -> Picture:
    with watch.stage("decode"):
        return imaging.decode(content, max_pixels, format)
