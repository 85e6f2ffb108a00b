"""Memory that pictures took goes back to the system when the work is done."""

import asyncio
import ctypes

IDLE = 2.0  # seconds without a picture


class Settling:
    """Asks the allocator to let go of what is free, once nothing was touched for a moment.

    Lower thresholds of the allocator do that at once, and take more than twice the time for every picture.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """There was work just now."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(IDLE, loop.run_in_executor, None, _give_back)


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other C libraries do without
    if trim is not None:
        trim(0)
