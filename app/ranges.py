"""Parts of a response: ETag, Range and If-Range (RFC 9110, sections 13 and 14), so that a download can be resumed."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.errors import ServiceError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


def partial_response(
    request: Request,
    etag: str,
    size: int,
    read: Callable[[int, int], Iterator[bytes]],
    media_type: str,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """The content of `size` bytes, or the part that is asked for, or the answer that the client has it already.

    Args:
        request: of the client, GET or HEAD.
        etag: identifies the content.
        size: of the content, in bytes.
        read: returns the bytes from a position to another.
        media_type: of the content.
        headers: of the response.

    Raises:
        ServiceError: the range begins after the end (`range-not-satisfiable`).
    """
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if _is_unchanged(request.headers, etag):
        return Response(status_code=304, headers=headers)
    part = _requested_range(request.headers, etag, size) if request.method == "GET" else None
    start, stop = part or (0, size)
    headers["Content-Length"] = str(stop - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    body = iter(()) if request.method == "HEAD" else read(start, stop)
    return StreamingResponse(body, 206 if part else 200, headers, media_type=media_type)


def _is_unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the client has the content with this ETag already: If-None-Match."""
    known = headers.get("if-none-match", "")
    return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]


def _requested_range(headers: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | None:
    """The first byte that is asked for, and the one after the last; None for the whole content.

    Several ranges, other units and invalid ones are answered with the whole, as the RFC allows.
    """
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or headers.get("if-range", etag) != etag or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        detail = f"the range begins at byte {start}, and there are {size}: ask for less."
        raise ServiceError("range-not-satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})
    return (start, stop) if start < stop else None
