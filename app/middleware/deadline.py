"""ASGI middleware that gives a request for one picture a deadline, and cancels its work if the client disconnects."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import error_response
from app.metrics import Metrics
from app.policy import Cost


class Deadline:
    """After the deadline the client gets 504 and the work is cancelled.

    Args:
        app: the wrapped ASGI application.
        seconds: from the first byte of the request to the first byte of the response.
        metrics: counts cancelled requests.
    """

    def __init__(self, app: ASGIApp, seconds: float, metrics: Metrics) -> None:
        self.app, self.seconds, self.metrics = app, seconds, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["policy"].cost is not Cost.PICTURE:
            await self.app(scope, receive, send)
            return
        body_received, response_started, cancelled = asyncio.Event(), False, False

        async def watched_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body_received.set()
            return message

        async def watched_send(message: Message) -> None:
            nonlocal response_started
            if not cancelled:
                response_started = True
                await send(message)

        async def wait_for_disconnect() -> None:
            await body_received.wait()
            while (await receive())["type"] != "http.disconnect":
                pass

        work = asyncio.ensure_future(self.app(scope, watched_receive, watched_send))
        disconnect = asyncio.ensure_future(wait_for_disconnect())
        try:
            await asyncio.wait((work, disconnect), timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not response_started:
                cancelled = True
                self.metrics.refused.labels("disconnected" if disconnect.done() else "deadline").inc()
                if not disconnect.done():
                    detail = f"the picture was not colorized within {self.seconds:g} seconds: send it again, or a smaller one."
                    await error_response("deadline-exceeded", detail, retry_after=1)(scope, receive, send)
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        finally:
            disconnect.cancel()
            work.cancel()
