"""Places for work in progress, of which one task may take all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class Places:
    """A number of places.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count)
        self._collecting = asyncio.Lock()  # two tasks that collect places would wait for each other

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Take one place."""
        async with self._free:
            yield

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Take all places, so that nothing else is in progress."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._collecting)
            for _ in range(self.count):
                await stack.enter_async_context(self._free)
            yield
