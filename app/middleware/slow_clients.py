"""ASGI middleware with a timeout for each piece that a client sends or receives."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import SlowClient
from app.metrics import Metrics
from app.policy import Cost

PIECE = 256 * 1024  # bytes of a response that are sent at a time


class SlowClients:
    """Ends requests of clients that stop sending their body (408) or stop reading the response (connection closed).

    The body of a single picture is covered by the deadline instead.

    Args:
        app: the wrapped ASGI application.
        timeout: seconds for each piece.
        metrics: counts the ended requests.
    """

    def __init__(self, app: ASGIApp, timeout: float, metrics: Metrics) -> None:
        self.app, self.timeout, self.metrics = app, timeout, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["policy"].cost is Cost.FREE:
            await self.app(scope, receive, send)
            return
        if scope["policy"].cost is not Cost.PICTURE:
            receive = self._receive_with_timeout(receive)
        await self.app(scope, receive, self._send_with_timeout(send))

    def _receive_with_timeout(self, receive: Receive) -> Receive:
        complete = False

        async def receive_piece() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(self.timeout):
                    message = await receive()
            except TimeoutError:
                self.metrics.refused.labels("slow_client").inc()
                raise SlowClient(self.timeout) from None
            complete = message["type"] != "http.request" or not message.get("more_body")
            return message

        return receive_piece

    def _send_with_timeout(self, send: Send) -> Send:
        """`send` in pieces: a server accepts a message of any size at once, and only then waits for the client."""

        async def send_piece(message: Message) -> None:
            try:
                async with asyncio.timeout(self.timeout):
                    await send(message)
            except TimeoutError:
                self.metrics.refused.labels("slow_client").inc()
                raise OSError("the client stopped reading the response") from None

        async def send_in_pieces(message: Message) -> None:
            body = memoryview(message.get("body", b""))
            if len(body) <= PIECE:
                await send_piece(message)
                return
            for start in range(0, len(body), PIECE):
                await send_piece({**message, "body": bytes(body[start : start + PIECE]), "more_body": True})
            await send_piece({**message, "body": b"", "more_body": message.get("more_body", False)})

        return send_in_pieces
