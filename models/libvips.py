"""libvips, configured for files that nobody checked: only the loaders that are used, and nothing kept in memory."""

from functools import cache
from typing import Any

_LOADERS = ("VipsForeignLoadPng", "VipsForeignLoadTiff")


@cache
def libvips() -> Any:
    """The module `pyvips`.

    All loaders except those of PNG and TIFF are blocked in this process, and its cache of operations is off, which would keep whole
    pictures. It is imported at the first use, because it loads a large library.
    """
    import pyvips

    pyvips.cache_set_max(0)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(loader, False)
    return pyvips
