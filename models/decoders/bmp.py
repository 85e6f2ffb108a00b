"""BMP by Pillow, except channels with masks, of which Pillow knows only some layouts.

[MS-WMF] 2.2.2.3 and the documentation of BITMAPV5HEADER; the masks may be of any width.
"""

import struct
from typing import Any

import numpy as np

from models.decoders.base import EncodedFile, Page
from models.decoders.pillow import PillowFile
from models.errors import BrokenPicture
from models.metadata import Metadata, valid_dpi
from models.samples import Samples

_BITFIELDS, _ALPHA_BITFIELDS = 3, 6  # kinds of compression
_INCH = 0.0254


class MaskedBmpFile(EncodedFile):
    """A BMP file of 16 or 32 bits a pixel whose channels are given by masks."""

    format = "bmp"

    def __init__(self, content: bytes) -> None:
        self._content = content
        width, height = struct.unpack_from("<ii", content, 18)
        self.sizes = [(width, abs(height))]
        self._is_top_down = height < 0
        if width <= 0 or not height:
            raise BrokenPicture(f"the BMP file has a size of {width} x {height} pixels: export it again.")

    def decode(self, page: int, luma_only: bool = False) -> Page:
        (width, height), content = self.sizes[0], self._content
        offset, header, bits = (struct.unpack_from(code, content, at)[0] for code, at in (("<I", 10), ("<I", 14), ("<H", 28)))
        masks = struct.unpack_from("<4I", content, 54)
        has_alpha = masks[3] and (header >= 56 or struct.unpack_from("<I", content, 30)[0] == _ALPHA_BITFIELDS)
        row = (width * bits // 8 + 3) // 4 * 4
        if offset + row * height > len(content):
            raise BrokenPicture("the BMP file is truncated: export it again.")
        rows = np.frombuffer(content, np.uint8, row * height, offset).reshape(height, row)[:, : width * bits // 8]
        pixels = np.ascontiguousarray(rows).view(f"<u{bits // 8}")
        pixels = pixels if self._is_top_down else pixels[::-1]
        levels = np.stack([_channel(pixels, mask) for mask in masks[:3]], axis=2)
        alpha = _channel(pixels, masks[3]) if has_alpha else None
        per_meter = struct.unpack_from("<ii", content, 38)
        return Page(Samples(levels, alpha), metadata=Metadata(valid_dpi([value * _INCH for value in per_meter])))


def open_bmp(content: bytes) -> EncodedFile:
    """A BMP file."""
    if len(content) > 70 and struct.unpack_from("<I", content, 14)[0] >= 40:
        bits, compression = struct.unpack_from("<HI", content, 28)
        if bits in (16, 32) and compression in (_BITFIELDS, _ALPHA_BITFIELDS):
            return MaskedBmpFile(content)
    return PillowFile(content, "bmp", "BMP")


def _channel(pixels: np.ndarray[Any, Any], mask: int) -> np.ndarray[Any, Any]:
    """The levels of a channel in 0 to 255; a channel without a mask is 0."""
    if not mask:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    white = mask >> shift
    return (((pixels & mask) >> shift).astype(np.float64) * (255 / white)).round().astype(np.uint8)
