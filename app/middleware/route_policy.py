"""ASGI middleware that looks up the policy of the requested route, for the other middleware."""

from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.policy import find_policy


class RoutePolicyLookup:
    """Puts the `RoutePolicy` of the requested route into `scope["policy"]`. The outermost middleware.

    Args:
        app: the wrapped ASGI application.
        routes: all routes that declare a policy.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app, self.routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["policy"] = find_policy(self.routes, scope)
        await self.app(scope, receive, send)
