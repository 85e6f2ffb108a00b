"""The bundles that a server serves: that of its settings, and those that API keys name."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from app.settings import Settings

Ensemble = TypeVar("Ensemble")

DEFAULT = ""  # the name of the bundle of the settings


class NamedBundles(Generic[Ensemble]):
    """The ensembles of the bundles in the folder of the settings, by name. The least recently used leave the memory.

    Args:
        settings: `bundles` is the folder, `bundles_kept` the number of ensembles that are kept.
        load: makes the ensemble of a bundle.
    """

    def __init__(self, settings: Settings, load: Callable[[Path], Ensemble]) -> None:
        self._settings, self._load = settings, load
        self._loads: OrderedDict[str, asyncio.Task[Ensemble]] = OrderedDict()

    async def get(self, name: str) -> Ensemble:
        """The ensemble of a bundle, which is loaded if it is not in memory. Requests that come meanwhile wait for the same load.

        Raises:
            BundleError: the bundle cannot be loaded; the next request tries again.
            OptionError: the engine cannot use the device.
        """
        if name not in self._loads:
            self._loads[name] = asyncio.create_task(asyncio.to_thread(self._load, self._settings.folder_of(name)))
        load = self._loads[name]
        self._loads.move_to_end(name)
        try:
            ensemble = await asyncio.shield(load)
        except Exception:
            if self._loads.get(name) is load:
                del self._loads[name]
            raise
        while len(self._loads) > self._settings.bundles_kept:
            self._loads.popitem(last=False)
        return ensemble

    def forget(self) -> None:
        """Load every bundle anew when it is next used."""
        self._loads.clear()
