"""A middleware of Ray Serve's HTTP proxies: a replica that was lost is 503, as elsewhere in the API, and not a 500 of the proxy.

Proxies load it where `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=app.cluster.proxy:middlewares` is set.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import MEDIA_TYPE, error_response

DETAIL = "the machine that processed this was lost: try again after 1 second."


class LostReplicas:
    """Replaces errors that are not from the service, which has a type of its own for them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = replaced = False

        async def replace(message: Message) -> None:
            nonlocal started, replaced
            started = True
            if message["type"] == "http.response.start" and message["status"] >= 500:
                types = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                replaced = MEDIA_TYPE.encode() not in types
                if replaced:
                    await error_response("overloaded", DETAIL)(scope, receive, send)
            if not replaced:
                await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self.app(scope, receive, replace)
        if not started:  # the proxy leaves this to its server if a replica is lost
            await error_response("overloaded", DETAIL)(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What proxies add."""
    return [Middleware(LostReplicas)]
