"""Runs the ensemble for concurrent requests: processes for decoding, one thread for the networks, a few for encoding."""

import asyncio
import inspect
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from app.inference.bundles import DEFAULT, NamedBundles
from app.inference.decoding_pool import DecodingPool, OpenFile
from app.inference.idle_trim import IdleTrimmer
from app.inference.process_tuning import tune_process
from app.metrics import Metrics
from app.schemas import VariantOptions
from app.settings import Settings
from app.tracing import span
from models.bundle_header import BundleHeader
from models.decision import Decision, Stopwatch
from models.engine_options import usable_cores
from models.ensemble import Ensemble
from models.errors import BundleError
from models.imaging import Picture, reduced
from models.loading import load_ensemble
from models.options import Options, PointOptions, RouteOptions
from models.pipeline import join, render
from models.plausible import PlausibleColor


class RemoteEnsemble(Protocol):
    """An ensemble that runs elsewhere: its methods are those of `Ensemble`, as coroutines."""

    bundle: BundleHeader

    @property
    def route(self) -> Callable[..., Awaitable[Decision]]: ...
    @property
    def predict(self) -> Callable[..., Awaitable[Any]]: ...
    @property
    def predict_variants(self) -> Callable[..., Awaitable[Any]]: ...
    @property
    def plausible_colors(self) -> Callable[..., Awaitable[Any]]: ...


AnyEnsemble = Ensemble | RemoteEnsemble
Load = Callable[[Path], AnyEnsemble]
Read = Callable[[], Awaitable[bytes]]
Result = TypeVar("Result")
EngineState = Literal["warming", "ready", "stalled", "draining"]

YIELD_SECONDS = 0.5  # that background work waits for foreground work, at most, so that it never starves

log = logging.getLogger("chromaroute")


class Engine:
    """An ensemble that serves concurrent requests.

    The networks process one picture at a time, because one picture keeps all cores busy. A few pictures, one more than there are
    threads, are decoded, predicted and encoded at once, which bounds the memory; the others wait with their upload on the disk.
    Decoding happens in processes that can be killed, because a file may be made to take forever.
    Background work, that of batches and jobs, has slots of its own, and yields to requests for single pictures.

    Args:
        settings: those of the deployment.
        metrics: counts what is done.
        load: makes the ensemble of the bundle in a folder; by default in this process.

    Raises:
        BundleError: the bundle cannot be loaded.
        OptionError: torch cannot use the device.
    """

    def __init__(self, settings: Settings, metrics: Metrics, load: Load | None = None) -> None:
        tune_process()
        self.settings, self.metrics = settings, metrics
        self._load = load or partial(load_ensemble, options=settings.engine_options)
        self.slots = (settings.threads or usable_cores()) + 1
        self._decoding = DecodingPool(self.slots, settings.max_pixels, settings.decode_seconds)
        self.ensemble = self._load(settings.bundle)
        self.named = NamedBundles(settings, self._load_and_run)
        self.draining = False
        self._is_warm = False
        self._network_pool = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._picture_pool = ThreadPoolExecutor(self.slots, thread_name_prefix="pictures")
        self._foreground = asyncio.Semaphore(self.slots)
        self._background = asyncio.Semaphore(self.slots)
        self._foreground_count = 0
        self._foreground_idle = asyncio.Event()
        self._foreground_idle.set()
        self._reloading: asyncio.Task[BundleHeader] | None = None
        self._idle_trimmer = IdleTrimmer()

    async def warm_up(self) -> None:
        """Run every expert once, so that the first request is as fast as later ones; then the engine is ready.

        A bundle that loads but cannot run ends the process, which would never become ready.
        """
        try:
            await self._decoding.warm_up()
            await self._run_every_expert(self.ensemble)
        except Exception:
            log.exception("the bundle %s cannot run", self.ensemble.bundle.label)
            signal.raise_signal(signal.SIGTERM)
        else:
            self.metrics.set_bundle(self.ensemble.bundle.label)
            self._is_warm = True

    async def reload(self) -> BundleHeader:
        """Serve the bundle that is in the folder now, and those of API keys. Requests in progress finish on the old bundles.

        A call during a reload has the result of that one.

        Raises:
            BundleError: it cannot be loaded or run; the old bundle is still served.
        """
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload())
        return await asyncio.shield(self._reloading)

    async def _reload(self) -> BundleHeader:
        try:
            self.ensemble = ensemble = await self._load_and_run(self.settings.bundle)
        finally:
            await self.named.follow()
        self.metrics.set_bundle(ensemble.bundle.label)
        log.info("serving the bundle %s", ensemble.bundle.label)
        return ensemble.bundle

    async def _load_and_run(self, folder: Path) -> AnyEnsemble:
        ensemble = await asyncio.to_thread(self._load, folder)
        try:
            await self._run_every_expert(ensemble)
        except Exception as error:
            raise BundleError(f"the bundle {ensemble.bundle.label} is complete but cannot run ({error}).") from error
        return ensemble

    async def header(self, bundle: str) -> BundleHeader:
        """The manifest of the bundle of that name.

        Raises:
            BundleError: it cannot be read.
        """
        return self.ensemble.bundle if bundle == DEFAULT else await self.named.header(bundle)

    async def colorize(
        self, read: Read, options: Options, bundle: str = DEFAULT, background: bool = False
    ) -> tuple[bytes, str, Decision]:
        """The encoded output of the picture that `read` returns, its format, and the decision record.

        Raises:
            PictureError, OptionError: as `models.pipeline.colorize`.
            CheckpointError: an expert was evicted from memory, and its file has changed.
        """
        async with self._opened(read, options, bundle, background) as (ensemble, file, watch):
            format = file.info.output_format(options.format)
            rendering = options.model_copy(update={"metadata": "keep-gps"})  # what the process has kept
            rendered = []
            pages = file.info.pages(options.page, format)
            options.check_pages(len(pages))
            for page in pages:
                with watch.stage("decode"), span("decode"):
                    picture = await file.decode(page, format, options.metadata)
                if page == pages[-1]:
                    file.close()
                ab, decision = await self._predicted(ensemble.predict, picture, options, options.hints)
                decision = decision.with_earlier_stages(watch)
                with span("render"):
                    rendered.append(await self._run(self._picture_pool, render, picture, ab, decision, rendering, format))
                self.metrics.observe(rendered[-1].decision)
                watch = Stopwatch()
            content, decision = await self._run(self._picture_pool, join, rendered)
        return content, format, decision

    async def variants(self, read: Read, options: VariantOptions, bundle: str = DEFAULT) -> list[tuple[bytes, str, Decision]]:
        """Small outputs of the picture that `read` returns, as each of the most probable categories, and their records.

        Raises:
            PictureError, OptionError: as `models.pipeline.colorize`.
        """
        async with self._opened(read, options, bundle) as (ensemble, file, watch):
            page = file.info.pages(options.page, "png")[0]
            with watch.stage("decode"), span("decode"):
                picture = await file.decode(page, "auto")
            file.close()
            predicted = await self._predicted(ensemble.predict_variants, picture, options, options.count)
            format = "jpeg" if picture.alpha is None else "png"
            small = await self._run(self._picture_pool, reduced, picture, options.long_side)
            rendering = Options(saturation=options.saturation, page=page, format=format)
            variants = []
            for ab, decision in predicted:
                decision = decision.with_earlier_stages(watch)
                rendered = await self._run(self._picture_pool, render, small, ab, decision, rendering, format)
                content, decision = join([rendered])
                variants.append((content, format, decision))
        self.metrics.observe(variants[0][2])
        return variants

    async def plausible_colors(
        self, read: Read, options: PointOptions, bundle: str = DEFAULT
    ) -> tuple[list[PlausibleColor], Decision]:
        """The colors that a point of the picture that `read` returns may have, and the decision record.

        Raises:
            PictureError, OptionError: as `models.pipeline.colorize`, and as `models.ensemble.Ensemble.plausible_colors`.
        """
        async with self._opened(read, options, bundle) as (ensemble, file, watch):
            page = file.info.pages(options.page, "png")[0]
            with watch.stage("decode"), span("decode"):
                picture = await file.decode(page, "auto")
            file.close()
            colors, decision = await self._predicted(ensemble.plausible_colors, picture, options)
            decision = decision.with_file(picture.page, picture.page_count, picture.metadata.notes)
        return colors, decision.with_earlier_stages(watch)

    async def route(self, read: Read, options: RouteOptions, bundle: str = DEFAULT) -> Decision:
        """The decision record of the picture that `read` returns.

        Raises:
            PictureError, OptionError: as `models.pipeline.colorize`.
        """
        async with self._opened(read, options, bundle) as (ensemble, file, watch):
            with watch.stage("decode"), span("decode"):
                picture = await file.decode(1, "auto")
            file.close()
            decision: Decision = await self._predicted(ensemble.route, picture, options)
            decision = decision.with_file(picture.page, picture.page_count, picture.metadata.notes)
        self.metrics.observe(decision := decision.with_earlier_stages(watch))
        return decision

    @property
    def state(self) -> EngineState:
        """Whether new requests are wanted, which is `ready`, or why not."""
        if self.draining:
            return "draining"
        return "warming" if not self._is_warm else "stalled" if self._decoding.stalled else "ready"

    def drain(self) -> None:
        """Report that no new requests are wanted; those that arrive are still answered."""
        if not self.draining:
            self.draining = True
            self._decoding.drain()

    def close(self) -> None:
        """Finish the running work and accept no more."""
        self.drain()
        self._network_pool.shutdown()
        self._picture_pool.shutdown()
        self._decoding.close()

    async def _run_every_expert(self, ensemble: AnyEnsemble) -> None:
        gray = Picture(np.full((128, 128), 128, np.uint8), None, "png")
        categories = ensemble.bundle.manifest.categories
        for category in {expert: category for category, expert in categories.items()}.values():
            await self._predicted(ensemble.predict, gray, RouteOptions(category=category))

    @asynccontextmanager
    async def _opened(
        self, read: Read, options: RouteOptions, bundle: str, background: bool = False
    ) -> AsyncIterator[tuple[AnyEnsemble, OpenFile, Stopwatch]]:
        """The ensemble of a bundle and the file, while one of the slots is held."""
        watch = Stopwatch()
        async with AsyncExitStack() as stack:
            with watch.stage("wait"), span("wait"):
                ensemble = self.ensemble if bundle == DEFAULT else await self.named.get(bundle)
                ensemble.bundle.router.check(options.category)
                await stack.enter_async_context(self._background_slot() if background else self._foreground_slot())
            try:
                with watch.stage("decode"), span("decode"):
                    file = await stack.enter_async_context(self._decoding.open(await read(), background))
                yield ensemble, file, watch
            finally:
                self._idle_trimmer.touch()

    @asynccontextmanager
    async def _foreground_slot(self) -> AsyncIterator[None]:
        self._foreground_count += 1
        self._foreground_idle.clear()
        try:
            with self.metrics.waiting.track_inprogress():
                await self._foreground.acquire()
            try:
                yield
            finally:
                self._foreground.release()
        finally:
            self._foreground_count -= 1
            if not self._foreground_count:
                self._foreground_idle.set()

    @asynccontextmanager
    async def _background_slot(self) -> AsyncIterator[None]:
        async with self._background:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._foreground_idle.wait(), YIELD_SECONDS)
            yield

    async def _predicted(self, method: Callable[..., Any], *arguments: object) -> Any:
        """The result of a method of an ensemble, which runs in the thread of the networks, or on other machines."""
        with span(method.__name__):
            if inspect.iscoroutinefunction(method):
                return await method(*arguments)
            return await self._run(self._network_pool, method, *arguments)

    @staticmethod
    async def _run(pool: ThreadPoolExecutor, work: Callable[..., Result], *arguments: object) -> Result:
        future = pool.submit(work, *arguments)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancelled():  # a thread cannot be stopped: the slot is held until this stage has ended
                with suppress(Exception):
                    await asyncio.shield(asyncio.wrap_future(future))
            raise
