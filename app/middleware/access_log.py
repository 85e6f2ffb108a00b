"""ASGI middleware: access log, request ids, metrics, security headers, and a problem response for internal errors."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem_of, problem_response, request_id
from app.metrics import Metrics
from app.tracing import log_fields

log = logging.getLogger("chromaroute.access")

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_DEBUG_PATHS = ("/livez", "/readyz", "/metrics")  # polled by machines, therefore logged at the level DEBUG
_CLIENT_CLOSED = 499  # as in nginx: the client disconnected before a response

HEADERS = {
    "Cache-Control": "private, no-store",  # pictures and records are not kept by proxies; files of the page set their own
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # pages set their own
}


class AccessLog:
    """Logs each request in one line. A client may set its own request id in `X-Request-ID`; it is returned in the response.

    Unexpected exceptions become a problem response, with the traceback in the log. The log contains no file names and no contents.

    Args:
        app: the wrapped ASGI application.
        metrics: counts requests.
        cross_origin: whether other origins may read responses.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, cross_origin: bool) -> None:
        self.app, self.metrics = app, metrics
        self.headers = HEADERS | ({"Cross-Origin-Resource-Policy": "cross-origin"} if cross_origin else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        requested = Headers(scope=scope).get("x-request-id", "")
        name = requested if _REQUEST_ID.fullmatch(requested) else secrets.token_hex(8)
        token = request_id.set(name)
        start, status, size = time.perf_counter(), _CLIENT_CLOSED, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = name
                for header, value in self.headers.items():
                    headers.setdefault(header, value)
                if scope["policy"].requires_key:
                    headers["Cache-Control"] = HEADERS["Cache-Control"]  # FastAPI sets another for events
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if status == _CLIENT_CLOSED:
                await problem_response(problem_of(error))(scope, receive, send_with_headers)
            elif isinstance(error, OSError):
                log.info("a response was interrupted: %s", error or "the client disconnected", extra={"request_id": name})
            else:
                log.exception("internal error", extra={"request_id": name})
                raise
        finally:
            seconds = time.perf_counter() - start
            path = scope["policy"].path
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.requests.labels(method, path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            request_id.reset(token)
            fields = {
                "request_id": name, "method": method, "path": path, "status": status, "ms": round(1000 * seconds, 1),
                "bytes": size, "key": scope.get("key"), **scope.get("decision", {}), **log_fields(),
            }  # fmt: skip
            level = logging.DEBUG if path in _DEBUG_PATHS else logging.INFO
            log.log(level, "%s %s %s %.0f ms, request %s", method, path, status, 1000 * seconds, name, extra=fields)
