"""What keeps the service upright under pressure: so many requests at once, so long for each, and nothing for clients that left."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import SlowClient, refusal
from app.metrics import Metrics

SINGLE = ("/v1/colorize", "/v1/route")
MANY = ("/v1/colorize/batch", "/v1/jobs")  # these answers take as long as they take
VOTES = ("/survey/votes",)
PICTURES = SINGLE + MANY
SHARE = 8  # of the requests inside, one in so many may bring many pictures, and at least one
PIECE = 256 * 1024  # bytes of an answer


class Pressure:
    """ASGI middleware over the requests that send something: pictures, or the votes of a survey.

    More requests than the limit are refused before their body is read. A picture that is not answered by the deadline is, by a
    problem, and its work is dropped; so is the work for a client that hung up. A batch, a job or a vote has no deadline, but its
    client has one between two pieces that it sends; every client has one to take the next piece of the answer.

    Args:
        app: the application behind it.
        max_requests: at once, those included that still send or wait.
        deadline: seconds.
        metrics: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, max_requests: int, deadline: float, metrics: Metrics) -> None:
        self.app, self.deadline, self.metrics = app, deadline, metrics
        few = max(1, max_requests // SHARE)
        self._room = dict.fromkeys(SINGLE, max_requests) | dict.fromkeys(MANY, few) | dict.fromkeys(VOTES, max_requests)
        self._inside = dict.fromkeys(self._room, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "POST" or path not in self._room:
            await self.app(scope, receive, send)
            return
        kin = next(group for group in (SINGLE, MANY, VOTES) if path in group)
        if sum(self._inside[each] for each in kin) >= self._room[path]:
            self.metrics.refused.labels("busy").inc()
            detail = f"{self._room[path]} requests of this kind are being worked on, which is the limit: try again after 1 second."
            await refusal("busy", detail, retry_after=1)(scope, receive, send)
            return
        self._inside[path] += 1
        try:
            with self.metrics.inside.track_inprogress():
                await (self._in_time if path in SINGLE else self._moving)(scope, receive, send)
        finally:
            self._inside[path] -= 1

    async def _moving(self, scope: Scope, receive: Receive, send: Send) -> None:
        complete = False

        async def watched_receive() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(self.deadline):
                    message = await receive()
            except TimeoutError:
                self.metrics.refused.labels("slow").inc()
                raise SlowClient(self.deadline) from None
            complete = message["type"] != "http.request" or not message.get("more_body")
            return message

        await self.app(scope, watched_receive, self._taken(send))

    def _taken(self, send: Send) -> Send:
        """`send`, which gives up on a client that takes no more of its answer.

        A server takes each message at once, however large, and only then waits for the client: so answers go in pieces.
        """

        async def piece(message: Message) -> None:
            try:
                async with asyncio.timeout(self.deadline):
                    await send(message)
            except TimeoutError:
                self.metrics.refused.labels("slow").inc()
                raise OSError("the client takes no more of the answer") from None

        async def watched_send(message: Message) -> None:
            body = memoryview(message.get("body", b""))
            if len(body) <= PIECE:
                await piece(message)
                return
            for start in range(0, len(body), PIECE):
                await piece({**message, "body": bytes(body[start : start + PIECE]), "more_body": True})
            await piece({**message, "body": b""})

        return watched_send

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, answered, abandoned = asyncio.Event(), False, False
        taken = self._taken(send)

        async def watched_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                sent.set()
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            if not abandoned:
                answered = True
                await taken(message)

        async def hang_up() -> None:
            await sent.wait()
            while (await receive())["type"] != "http.disconnect":
                pass

        work = asyncio.ensure_future(self.app(scope, watched_receive, watched_send))
        gone = asyncio.ensure_future(hang_up())
        try:
            await asyncio.wait((work, gone), timeout=self.deadline, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not answered:
                abandoned = True
                self.metrics.refused.labels("gone" if gone.done() else "late").inc()
                if not gone.done():
                    detail = f"the picture was not coloured within {self.deadline:g} seconds: send it again, or a smaller one."
                    await refusal("late", detail, retry_after=1)(scope, receive, send)
                work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        finally:
            gone.cancel()
            work.cancel()
