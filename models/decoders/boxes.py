"""Boxes, of which JPEG 2000 and AVIF files consist: ISO/IEC 14496-12, section 4."""

from collections.abc import Iterator


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies of boxes that follow each other."""
    position = 0
    while position + 8 <= len(content):
        size, header = int.from_bytes(content[position : position + 4]), 8
        if size == 1:
            size, header = int.from_bytes(content[position + 8 : position + 16]), 16
        end = position + size if size else len(content)
        yield content[position + 4 : position + 8], content[position + header : end]
        position = max(end, position + header)
