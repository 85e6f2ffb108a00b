"""ASGI middleware that limits how many requests of each cost are in flight."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import error_response
from app.metrics import Metrics
from app.policy import Cost

BATCH_DIVISOR = 8  # the limit of batches and job uploads is `max_requests` divided by this, and at least 1


class Admission:
    """Refuses requests over the limit with 503 before their body is read.

    Args:
        app: the wrapped ASGI application.
        max_requests: limit of requests in flight for each cost, those that are uploading or waiting included.
        metrics: counts requests in flight and refused ones.
    """

    def __init__(self, app: ASGIApp, max_requests: int, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._limits = {
            Cost.PICTURE: max_requests, Cost.BATCH: max(1, max_requests // BATCH_DIVISOR), Cost.VOTE: max_requests,
        }  # fmt: skip
        self._in_flight = dict.fromkeys(self._limits, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["policy"].cost is Cost.FREE:
            await self.app(scope, receive, send)
            return
        cost = scope["policy"].cost
        if self._in_flight[cost] >= self._limits[cost]:
            self.metrics.refused.labels("overloaded").inc()
            detail = f"{self._limits[cost]} requests of this kind are in progress, which is the limit: try again after 1 second."
            await error_response("overloaded", detail, retry_after=1)(scope, receive, send)
            return
        self._in_flight[cost] += 1
        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, send)
        finally:
            self._in_flight[cost] -= 1
