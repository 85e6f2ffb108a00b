"""ASGI middleware that authenticates API keys and enforces their rate limits."""

import math

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api_keys import ApiKeyStore
from app.errors import error_response
from app.metrics import Metrics
from app.policy import Cost


class Auth:
    """Puts the name of the key into `scope["key"]`, and that of its bundle into `scope["bundle"]`.

    Without keys every request is allowed.

    Args:
        app: the wrapped ASGI application.
        keys: the known keys, or None.
        metrics: counts refused requests.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeyStore | None, metrics: Metrics) -> None:
        self.app, self.keys, self.metrics = app, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] != "http" or scope["method"] == "OPTIONS" or not scope["policy"].requires_key
        if is_open or self.keys is None:
            await self.app(scope, receive, send)
            return
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        key = self.keys.authenticate(secret.strip()) if is_bearer else None
        if key is None:
            self.metrics.refused.labels("unauthorized").inc()
            reason = "this API key is not known: it was revoked or is misspelled." if is_bearer else "this needs an API key."
            response = error_response("unauthorized", f"{reason} Send one as Authorization: Bearer KEY.")
            await response(scope, receive, send)
            return
        scope["key"], scope["bundle"] = key.name, key.bundle
        if scope["policy"].requires_admin and not key.admin:
            self.metrics.refused.labels("forbidden").inc()
            detail = f"the key {key.name!r} is not that of an administrator: use one of chromaroute key add NAME --admin."
            await error_response("forbidden", detail)(scope, receive, send)
            return
        is_limited = scope["method"] == "POST" and scope["policy"].cost in (Cost.PICTURE, Cost.BATCH)
        wait = math.ceil(self.keys.seconds_to_wait(key)) if is_limited else 0
        if wait:
            self.metrics.refused.labels("rate_limit").inc()
            detail = f"the key {key.name!r} has used up its requests of this minute: wait {wait} seconds."
            await error_response("too-many-requests", detail, wait)(scope, receive, send)
            return
        await self.app(scope, receive, send)
