"""Lets in who has a key, at the key's rate. Health, the page and the documentation are open; they show nobody's pictures."""

import math
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import refusal
from app.keys import Gate
from app.metrics import Metrics
from app.pressure import PICTURES

GUARDED = ("/v1/", "/metrics")


class Guard:
    """ASGI middleware; it puts the key's name into `scope["key"]`. Without keys everything is open.

    Args:
        app: the application behind it.
        gate: the keys, or None.
        metrics: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, gate: Gate | None, metrics: Metrics) -> None:
        self.app, self.gate, self.metrics = app, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.gate is None or not scope["path"].startswith(GUARDED):
            await self.app(scope, receive, send)
            return
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        given = scheme.lower() == "bearer"
        name = self.gate.name_of(secret.strip()) if given else None
        if name is None:
            self.metrics.refused.labels("no-key").inc()
            what = "this API key is not known: it was revoked, or has a typing error." if given else "this needs an API key."
            await refusal("no-key", f"{what} Send one as Authorization: Bearer KEY.")(scope, receive, send)
            return
        scope["key"] = name
        wait = math.ceil(self.gate.wait_of(name, time.time())) if scope["method"] == "POST" and scope["path"] in PICTURES else 0
        if wait:
            self.metrics.refused.labels("rate").inc()
            detail = f"the key {name!r} has sent as many requests as it may in a minute: wait {wait} seconds."
            await refusal("too-many-requests", detail, wait)(scope, receive, send)
            return
        await self.app(scope, receive, send)
