"""ASGI middleware with a timeout for each piece that a client sends or receives, and a least rate over all of them."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import SlowClient
from app.metrics import Metrics
from app.policy import Cost

PIECE = 256 * 1024  # bytes of a response that are sent at a time
MIN_RATE = 8 * 1024  # bytes a second, over the time that the server waited for the client

Result = TypeVar("Result")


class SlowClients:
    """Ends requests of clients that send their body too slowly (408) or read the response too slowly (connection closed).

    The body of a single picture is covered by the deadline instead.

    Args:
        app: the wrapped ASGI application.
        timeout: seconds for each piece; and for all, beyond what they take at the least rate.
        metrics: counts the ended requests.
    """

    def __init__(self, app: ASGIApp, timeout: float, metrics: Metrics) -> None:
        self.app, self.timeout, self.metrics = app, timeout, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "POST" and scope["policy"].cost in (Cost.BATCH, Cost.VOTE):
            receive = self._receive_with_timeout(receive)
        await self.app(scope, receive, self._send_with_timeout(send))

    def _receive_with_timeout(self, receive: Receive) -> Receive:
        patience, complete = _Patience(self.timeout), False

        async def receive_piece() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            try:
                message = await patience.wait(receive())
            except TimeoutError:
                self.metrics.refused.labels("slow_client").inc()
                raise SlowClient(self.timeout) from None
            patience.bytes += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body")
            return message

        return receive_piece

    def _send_with_timeout(self, send: Send) -> Send:
        """`send` in pieces: a server accepts a message of any size at once, and only then waits for the client."""
        patience = _Patience(self.timeout)

        async def send_piece(message: Message) -> None:
            try:
                await patience.wait(send(message))
            except TimeoutError:
                self.metrics.refused.labels("slow_client").inc()
                raise OSError("the client stopped reading the response") from None
            patience.bytes += len(message.get("body", b""))

        async def send_in_pieces(message: Message) -> None:
            body = memoryview(message.get("body", b""))
            if len(body) <= PIECE:
                await send_piece(message)
                return
            for start in range(0, len(body), PIECE):
                await send_piece({**message, "body": bytes(body[start : start + PIECE]), "more_body": True})
            await send_piece({**message, "body": b"", "more_body": message.get("more_body", False)})

        return send_in_pieces


class _Patience:
    """How long the server waits for one client."""

    def __init__(self, timeout: float) -> None:
        self._timeout, self._waited = timeout, 0.0
        self.bytes = 0  # that were sent or received

    async def wait(self, message: Awaitable[Result]) -> Result:
        """The result. Raises a TimeoutError if this wait, or all of them together, take too long."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(min(self._timeout, self._timeout + self.bytes / MIN_RATE - self._waited)):
                return await message
        finally:
            self._waited += time.monotonic() - start
