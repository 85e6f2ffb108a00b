"""Parts of a response: ETag, Range and If-Range (RFC 9110, sections 13 and 14), so that a download can be resumed."""

import re
from collections.abc import Mapping

from app.errors import ServiceError

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def is_unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the client has the content with this ETag already: If-None-Match."""
    known = headers.get("if-none-match", "")
    return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]


def requested_range(headers: Mapping[str, str], etag: str, size: int) -> tuple[int, int] | None:
    """The first byte that is asked for, and the one after the last; None for the whole content.

    Several ranges, other units and invalid ones are answered with the whole, as the RFC allows.

    Raises:
        ServiceError: the range begins after the end (`range-not-satisfiable`).
    """
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or headers.get("if-range", etag) != etag or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        raise ServiceError("range-not-satisfiable", f"the range begins at byte {start}, and there are {size}: ask for less.")
    return (start, stop) if start < stop else None
