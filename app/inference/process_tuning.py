"""How the libraries of this process use memory and threads."""

import ctypes
import sys
from collections.abc import Callable

from threadpoolctl import threadpool_limits

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_KEPT = 2**30  # bytes that the allocator may keep while there is work


def tune_process(largest: int = 4 * 2**20) -> None:
    """Let the allocator keep what is freed, and matrix products, which are small here, run in one thread.

    Otherwise every large array takes new pages of the system, which costs more time than most computations with it.

    Args:
        largest: bytes of a block that is kept; larger ones go back to the system at once, because threads that keep a few of them
            hold much memory.
    """
    threadpool_limits(limits=1, user_api="blas")
    if (mallopt := _of_c_library("mallopt")) is not None:
        mallopt(_MMAP_THRESHOLD, largest)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def trim_memory() -> None:
    """Return the free memory of the allocator to the system."""
    if (trim := _of_c_library("malloc_trim")) is not None:
        trim(0)


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function that only glibc has."""
    return None if sys.platform == "win32" else getattr(ctypes.CDLL(None), name, None)
