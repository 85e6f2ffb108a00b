"""Returns free memory of the allocator to the system when no picture is processed."""

import asyncio
import ctypes
import sys

IDLE = 2.0  # seconds without a picture


class IdleTrimmer:
    """Calls `malloc_trim` after a moment without work.

    Lower thresholds of the allocator would return memory at once, but more than double the time of every picture.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Report work, which restarts the timer."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(IDLE, loop.run_in_executor, None, _trim)


def _trim() -> None:
    if sys.platform == "win32":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
