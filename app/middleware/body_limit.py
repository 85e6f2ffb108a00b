"""ASGI middleware that refuses request bodies over the limit: by the declared length, or by counting streamed bytes."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, error_response
from app.policy import Cost
from app.settings import Settings

VOTE_BYTES = 4096


class BodyLimit:
    """Limits the body by the cost of the route.

    Args:
        app: the wrapped ASGI application.
        settings: the limits of a picture and of a batch.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.default = app, settings.max_bytes
        self.limits = {Cost.BATCH: settings.max_batch_bytes, Cost.VOTE: VOTE_BYTES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.get(scope["policy"].cost, self.default)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await error_response("too-large", BodyTooLarge(limit).detail)(scope, receive, send)
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        await self.app(scope, counting_receive, send)
