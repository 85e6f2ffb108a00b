"""Returns free memory of the allocator to the system when no picture is processed."""

import asyncio

from app.inference.decoding_process import IDLE_SECONDS
from app.inference.process_tuning import trim_memory


class IdleTrimmer:
    """Calls `malloc_trim` after a moment without work."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Report work, which restarts the timer."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(IDLE_SECONDS, loop.run_in_executor, None, trim_memory)
