"""ASGI middleware that limits how many requests of each cost are in flight, in all and for each client."""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import error_response
from app.metrics import Metrics
from app.policy import Cost

BATCH_DIVISOR = 8  # the limit of batches and job uploads is `max_requests` divided by this, and at least 1
RESERVED = 4  # the last 1/RESERVED of the places is for clients that have fewer than so many


class Admission:
    """Refuses requests over the limit with 503, and those of a client that has most places with 429, before their body is read.

    A client is an API key, or an address where there are no keys.

    Args:
        app: the wrapped ASGI application.
        max_requests: limit of requests in flight for each cost, those that are uploading or waiting included.
        metrics: counts requests in flight and refused ones.
    """

    def __init__(self, app: ASGIApp, max_requests: int, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._limits = {
            Cost.PICTURE: max_requests, Cost.BATCH: max(1, max_requests // BATCH_DIVISOR),
            Cost.DOWNLOAD: max_requests, Cost.VOTE: max_requests,
        }  # fmt: skip
        self._in_flight: Counter[tuple[Cost, str | None]] = Counter()  # by client, and under None in all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["policy"].takes_place(scope["method"]):
            await self.app(scope, receive, send)
            return
        cost: Cost = scope["policy"].cost
        client = str(scope.get("key") or (scope["client"] or ("",))[0])
        total, own, limit = self._in_flight[cost, None], self._in_flight[cost, client], self._limits[cost]
        if total >= limit:
            self.metrics.refused.labels("overloaded").inc()
            detail = f"{limit} requests of this kind are in progress, which is the limit: try again after 1 second."
            await error_response("overloaded", detail, retry_after=1)(scope, receive, send)
            return
        if total >= limit - limit // RESERVED and own >= limit // RESERVED:
            self.metrics.refused.labels("client_limit").inc()
            detail = (
                f"{own} requests of yours are in progress, and the last places are for other clients: try again after 1 second."
            )
            await error_response("too-many-requests", detail, retry_after=1)(scope, receive, send)
            return
        places = ((cost, None), (cost, client))
        self._in_flight.update(places)
        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, send)
        finally:
            self._in_flight.subtract(places)
            if not self._in_flight[cost, client]:
                del self._in_flight[cost, client]
