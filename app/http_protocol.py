"""Limits on requests before the application sees them: the size of headers, and the time in which they arrive.

uvicorn has neither with httptools: a header of any size is kept in memory, and connections that send nothing stay open.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Literal

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import error_response
from app.metrics import Metrics

MAX_HEADER_BYTES = 64 * 1024  # of request line and headers, and of what follows a body
HEADER_SECONDS = 20.0  # for request line and headers, and for a body that nobody reads any more
PIECE = 4 * 1024  # bytes after which headers are counted

log = logging.getLogger("chromaroute.access")


class HttpProtocol(HttpToolsProtocol):
    """The HTTP protocol of uvicorn with limits.

    Headers of more than `MAX_HEADER_BYTES` are answered with 431, those that are not complete after `HEADER_SECONDS` with 408. A
    connection on which no request arrives is closed after the same time, and by uvicorn five seconds after its last response.
    """

    metrics: Metrics  # counts refused requests
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0  # since a request began, or a piece of its body came
    _has_progress = False  # whether either happened in the current call
    _reads: Literal["nothing", "headers", "body"] = "nothing"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()
        self._abort_if_closed(was_closed=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            if self._header_bytes >= MAX_HEADER_BYTES:
                detail = f"request line and headers have more than {MAX_HEADER_BYTES} bytes, which is the limit: send fewer."
                self._refuse(error_response("headers-too-large", detail), "headers")
                return
            piece = data if self._reads == "body" else data[:PIECE]
            self._has_progress = False
            super().data_received(piece)
            self._header_bytes = 0 if self._has_progress else self._header_bytes + len(piece)
            data = data[len(piece) :]
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()  # these data have stopped the timer of uvicorn, whether a request has begun or not

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_progress, self._reads = True, "headers"
        if self._timer is None:
            self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reads == "headers":  # and not a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._reads = "body"
        super().on_headers_complete()
        if self.parser.should_upgrade():  # to a protocol that we do not speak; the parser reads no further
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._reads = "nothing"
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Clients may ask for any protocol, which is no reason for a warning."""

    def _abort_if_closed(self, was_closed: bool) -> None:
        """Drop a response that a client does not read, some time after the connection was closed."""
        if was_closed:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(HEADER_SECONDS, self._abort_if_closed, self.transport.is_closing())

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self._end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()  # the next request waits for this response
        elif self._reads == "headers":
            detail = f"the headers were not complete after {HEADER_SECONDS:g} seconds: send them at once."
            self._refuse(error_response("slow-client", detail), "slow_client")
        else:
            self.transport.close()

    def _refuse(self, response: JSONResponse, reason: str) -> None:
        """Answer and record it, if no other answer has begun, and close the connection."""
        if self.cycle is None or self.cycle.response_complete:
            status = HTTPStatus(response.status_code)
            headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
            line = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\n".encode()
            self.transport.write(line + headers + b"\r\n" + bytes(response.body))
            self.metrics.refused.labels(reason).inc()
            log.info("request refused with %d before it was complete", status, extra={"status": status, "reason": reason})
        self.transport.close()


def http_protocol(metrics: Metrics) -> type[HttpProtocol]:
    """The protocol for an application, whose metrics count the requests that are refused."""
    return type("HttpProtocol", (HttpProtocol,), {"metrics": metrics})
