"""AVIF by Pillow, and its crop, which Pillow leaves out. ISO/IEC 14496-12, sections 8.11 and 12.1.4; ISO/IEC 23008-12, 9.3."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from models.decoders.base import Page
from models.decoders.boxes import boxes
from models.decoders.pillow import PillowFile


class AvifFile(PillowFile):
    """An AVIF file; of a sequence, the first picture."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content, "avif", "AVIF")
        self._crop = _crop(content, *self.sizes[0])
        if self._crop:
            rows, columns = self._crop
            self.sizes = [(columns.stop - columns.start, rows.stop - rows.start)]

    def decode(self, page: int, luma_only: bool = False) -> Page:
        decoded = super().decode(page, luma_only)
        if not self._crop:
            return decoded
        levels, alpha = decoded.samples.levels[self._crop], decoded.samples.alpha
        return replace(decoded, samples=replace(decoded.samples, levels=levels, alpha=None if alpha is None else alpha[self._crop]))


def _crop(content: bytes, width: int, height: int) -> tuple[slice, slice] | None:
    """Rows and columns of the clean aperture of the primary picture; None if there is none, or it is not within the picture."""
    aperture = next((body for name, body in _primary_properties(content) if name == b"clap"), b"")
    if len(aperture) < 32:
        return None
    numbers = struct.unpack_from(">IIIIiIiI", aperture)
    if not all(numbers[1::2]):
        return None
    across, down, right, below = (Fraction(*numbers[start : start + 2]) for start in (0, 2, 4, 6))
    left, top = right + (width - across) / 2, below + (height - down) / 2
    if any(number.denominator > 1 for number in (left, top, across, down)):
        return None
    if left < 0 or top < 0 or across < 1 or down < 1 or left + across > width or top + down > height:
        return None
    return slice(int(top), int(top + down)), slice(int(left), int(left + across))


def _primary_properties(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies of the properties of the primary picture."""
    meta = dict(boxes(next((body for name, body in boxes(content) if name == b"meta"), b"")[4:]))
    primary = int.from_bytes(meta.get(b"pitm", b"")[4:])
    inner = dict(boxes(meta.get(b"iprp", b"")))
    properties, associations = list(boxes(inner.get(b"ipco", b""))), inner.get(b"ipma", b"").ljust(8, b"\0")
    id_size, index_size = (4 if associations[0] else 2), (2 if associations[3] & 1 else 1)
    position = 8
    for _ in range(int.from_bytes(associations[4:8])):
        item, count = int.from_bytes(associations[position : position + id_size]), associations[position + id_size :][:1]
        position += id_size + 1
        for _ in range(count[0] if count else 0):
            index = int.from_bytes(associations[position : position + index_size]) & (0x7FFF if index_size == 2 else 0x7F)
            position += index_size
            if item == primary and 0 < index <= len(properties):
                yield properties[index - 1]
        if position >= len(associations):
            return
