"""Limits on requests before the application sees them: the size of headers, and the time in which they arrive.

uvicorn has neither with httptools: a header of any size is kept in memory, and connections that send nothing stay open.
"""

import asyncio
from http import HTTPStatus

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import error_response

MAX_HEADER_BYTES = 64 * 1024  # of request line and headers
HEADER_SECONDS = 20.0  # for request line and headers, and for a body that nobody reads any more


class HttpProtocol(HttpToolsProtocol):
    """The HTTP protocol of uvicorn with limits.

    Headers of more than `MAX_HEADER_BYTES` are answered with 431, those that are not complete after `HEADER_SECONDS` with 408. A
    connection on which no request arrives is closed after the same time, and by uvicorn five seconds after its last response.
    """

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0  # of the request that has begun, in earlier calls
    _has_begun = False  # whether a request began in the current call
    _in_headers, _in_body = True, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            if self._in_headers and self._header_bytes >= MAX_HEADER_BYTES:
                detail = f"request line and headers have more than {MAX_HEADER_BYTES} bytes, which is the limit: send fewer."
                self._refuse(error_response("headers-too-large", detail))
                return
            piece = data[: MAX_HEADER_BYTES - self._header_bytes] if self._in_headers else data
            self._has_begun = False
            super().data_received(piece)
            self._header_bytes = self._header_bytes + len(piece) if self._in_headers and not self._has_begun else 0
            data = data[len(piece) :]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = self._in_headers = True
        if self._timer is None:
            self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # and not a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_headers, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._in_headers, self._in_body = True, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self._timer is None:
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self._end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self._in_headers and self.scope is not None:
            detail = f"the headers were not complete after {HEADER_SECONDS:g} seconds: send them at once."
            self._refuse(error_response("slow-client", detail))
        else:
            self.transport.close()

    def _refuse(self, response: JSONResponse) -> None:
        """Answer, if no other answer has begun, and close the connection."""
        if self.cycle is None or self.cycle.response_complete:
            status = HTTPStatus(response.status_code)
            headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
            line = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\n".encode()
            self.transport.write(line + headers + b"\r\n" + bytes(response.body))
        self.transport.close()
