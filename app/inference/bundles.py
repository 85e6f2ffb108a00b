"""The bundles that API keys name, beside that of the server."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from app.settings import Settings, SettingsError
from models.bundle_header import BundleHeader, read_header
from models.errors import BundleError

DEFAULT = ""  # the name of the bundle of the server

log = logging.getLogger("chromaroute")


class HasBundle(Protocol):
    """What is loaded from a bundle."""

    @property
    def bundle(self) -> BundleHeader: ...


Loaded = TypeVar("Loaded", bound=HasBundle)


class NamedBundles(Generic[Loaded]):
    """The ensembles of the bundles in the folder of the settings, by name. The least recently used are evicted.

    Args:
        settings: `bundles` is the folder, `bundles_kept` the number of ensembles that are kept.
        load: makes the ensemble of the bundle in a folder. One is loaded at a time.
    """

    def __init__(self, settings: Settings, load: Callable[[Path], Awaitable[Loaded]]) -> None:
        self._settings, self._load = settings, load
        self._kept: OrderedDict[str, Loaded] = OrderedDict()
        self._loads: dict[str, asyncio.Task[Loaded]] = {}
        self._loading = asyncio.Lock()

    async def get(self, name: str) -> Loaded:
        """The ensemble of a bundle, which is loaded if it is not kept. Requests that come meanwhile wait for the same load.

        Raises:
            BundleError: the bundle cannot be loaded; the next request tries again.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._loads:
            self._loads[name] = asyncio.create_task(self._keep(name))
            self._loads[name].add_done_callback(lambda load: load.cancelled() or load.exception())  # all who wait may be gone
        return await asyncio.shield(self._loads[name])

    async def header(self, name: str) -> BundleHeader:
        """The manifest of a bundle, which need not be loaded for this.

        Raises:
            BundleError: there is none, or it is not valid.
        """
        if name in self._kept:
            return self._kept[name].bundle
        return await asyncio.to_thread(read_header, self._folder(name))

    async def follow(self) -> None:
        """Load those anew whose manifests have changed. A bundle that cannot be loaded leaves the old one in its place."""
        for name, ensemble in list(self._kept.items()):
            try:
                if (await asyncio.to_thread(read_header, self._folder(name))).digest != ensemble.bundle.digest:
                    async with self._loading:
                        self._kept[name] = await self._load(self._folder(name))
                    log.info("serving the bundle %s of %r", self._kept[name].bundle.label, name)
            except BundleError as error:
                log.error("the bundle %r was not reloaded: %s", name, error)

    async def _keep(self, name: str) -> Loaded:
        try:
            async with self._loading:
                self._kept[name] = ensemble = await self._load(self._folder(name))
                while len(self._kept) > self._settings.bundles_kept:
                    self._kept.popitem(last=False)
            return ensemble
        finally:
            del self._loads[name]

    def _folder(self, name: str) -> Path:
        try:
            return self._settings.folder_of(name)
        except SettingsError as error:
            raise BundleError(str(error)) from error
