"""Returns free memory of the allocator to the system when no picture is processed."""

import asyncio

from app.inference.decoding_process import IDLE_SECONDS, trim_memory


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
        self._timer = loop.call_later(IDLE_SECONDS, loop.run_in_executor, None, trim_memory)
