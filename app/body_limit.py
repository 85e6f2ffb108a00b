"""Refuses a request body over the limit: by its declared length before it is read, or by counting as it streams in."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, refusal
from app.pressure import MANY
from app.settings import Settings

VOTE = 4096  # bytes of an answer to a survey's question


class BodyLimit:
    """ASGI middleware.

    Args:
        app: the application behind it.
        settings: the limits, of a picture and of many; a vote has its own.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.settings.max_batch_bytes if scope["path"] in MANY else self.settings.max_bytes
        if scope["path"].startswith("/survey"):
            limit = VOTE
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await refusal("too-large", BodyTooLarge(limit).detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        await self.app(scope, counted, send)
