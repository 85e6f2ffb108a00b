"""What is seen of a request from outside: its id, its metrics, one line in the log, and headers that keep browsers careful."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import KINDS, refusal, request_id
from app.metrics import Metrics
from app.pressure import PICTURES

log = logging.getLogger("chromaroute.access")

_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_QUIET = ("/livez", "/readyz", "/metrics")  # asked every few seconds by machines

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # what is shown as a page brings its own
}


class Observed:
    """ASGI middleware. A client may name its request by `X-Request-ID`; the answer, the log and problems give the id back.

    What fails for a reason of ours becomes a problem here, and its traceback goes into the log. The log has no file names and no
    contents of pictures.

    Args:
        app: the application behind it.
        metrics: where requests are counted.
        shared: whether other origins may read the answers.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, shared: bool) -> None:
        self.app, self.metrics = app, metrics
        self.headers = HEADERS | ({"Cross-Origin-Resource-Policy": "cross-origin"} if shared else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _ID.fullmatch(given) else secrets.token_hex(8)
        token = request_id.set(name)
        start, status, size = time.perf_counter(), 499, 0  # 499: the client left before an answer, as nginx has it

        async def marked(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = name
                for header, value in self.headers.items():
                    headers.setdefault(header, value)
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, marked)
        except OSError as error:
            if status == 499:
                raise
            log.info("an answer broke off: %s", error or "the client left", extra={"request_id": name})
        except Exception:
            log.exception("a fault", extra={"request_id": name})
            if status != 499:
                raise
            await refusal("fault", KINDS["fault"].example)(scope, receive, marked)
        finally:
            seconds = time.perf_counter() - start
            refused = scope["path"] if scope["path"] in PICTURES else "other"  # before it came to its route
            path = getattr(scope.get("route"), "path", refused)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(method, path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            request_id.reset(token)
            fields = {
                "request_id": name, "method": method, "path": path, "status": status, "ms": round(1000 * seconds, 1),
                "bytes": size, "key": scope.get("key"), **scope.get("decided", {}),
            }  # fmt: skip
            level = logging.DEBUG if path in _QUIET else logging.INFO
            log.log(level, "%s %s %s %.0f ms, request %s", method, path, status, 1000 * seconds, name, extra=fields)
