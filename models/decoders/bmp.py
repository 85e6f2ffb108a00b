"""BMP by Pillow, except channels with masks, of which it knows only some layouts, and run lengths, which it lets overrun rows.

[MS-WMF] 2.2.2.3 and 3.1.6, and the documentation of BITMAPV5HEADER; the masks may be of any width.
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
_RUN_LENGTHS = {8: 1, 4: 2}  # the kind of compression by the bits of a pixel
_END_OF_ROW, _END, _MOVE = 0, 1, 2  # escapes of run lengths
_HALVES = [bytes((value >> 4, value & 15)) for value in range(256)]
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
        masks = [mask & (2**bits - 1) for mask in struct.unpack_from("<4I", content, 54)]
        has_alpha = masks[3] and (header >= 56 or struct.unpack_from("<I", content, 30)[0] == _ALPHA_BITFIELDS)
        row = (width * bits // 8 + 3) // 4 * 4
        if offset + row * height > len(content):
            raise BrokenPicture("the BMP file is truncated: export it again.")
        rows = np.frombuffer(content, np.uint8, row * height, offset).reshape(height, row)[:, : width * bits // 8]
        pixels = np.ascontiguousarray(rows).view(f"<u{bits // 8}")
        pixels = pixels if self._is_top_down else pixels[::-1]
        levels = np.stack([_channel(pixels, mask) for mask in masks[:3]], axis=2)
        alpha = _channel(pixels, masks[3]) if has_alpha else None
        return Page(Samples(levels, alpha), metadata=_metadata(content))


class RunLengthBmpFile(EncodedFile):
    """A BMP file of 4 or 8 bits a pixel in run lengths."""

    format = "bmp"

    def __init__(self, content: bytes) -> None:
        self._content = content
        width, height = struct.unpack_from("<ii", content, 18)
        self.sizes = [(width, height)]
        if width <= 0 or height <= 0:
            raise BrokenPicture(f"the BMP file has a size of {width} x {height} pixels: export it again.")

    def decode(self, page: int, luma_only: bool = False) -> Page:
        (width, height), content = self.sizes[0], self._content
        offset, header, bits = (struct.unpack_from(code, content, at)[0] for code, at in (("<I", 10), ("<I", 14), ("<H", 28)))
        indices = np.frombuffer(_unpacked(content[offset:], width, height, bits == 4), np.uint8).reshape(height, width)[::-1]
        count = min(struct.unpack_from("<I", content, 46)[0] or 2**bits, 256)
        colors = np.frombuffer(content, np.uint8, 4 * count, 14 + header).reshape(count, 4)[:, 2::-1]
        palette = np.zeros((256, 3), np.uint8)
        palette[:count] = colors
        return Page(Samples(palette[indices]), metadata=_metadata(content))


def open_bmp(content: bytes) -> EncodedFile:
    """A BMP file."""
    if len(content) > 70 and struct.unpack_from("<I", content, 14)[0] >= 40:
        bits, compression = struct.unpack_from("<HI", content, 28)
        if bits in (16, 32) and compression in (_BITFIELDS, _ALPHA_BITFIELDS):
            return MaskedBmpFile(content)
        if _RUN_LENGTHS.get(bits) == compression:
            return RunLengthBmpFile(content)
    return PillowFile(content, "bmp", "BMP")


def _metadata(content: bytes) -> Metadata:
    return Metadata(valid_dpi([value * _INCH for value in struct.unpack_from("<ii", content, 38)]))


def _unpacked(data: bytes, width: int, height: int, has_halves: bool) -> bytearray:
    """The indices of pixels in run lengths. What overruns a row is left out, and what is left out has the index 0."""
    indices = bytearray(width * height)
    position, x, y = 0, 0, 0
    while y < height:
        if position + 2 > len(data):
            raise BrokenPicture("the BMP file is truncated: export it again.")
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            run = (_HALVES[value] * count if has_halves else bytes((value,)) * count)[:count]
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _END:
            break
        elif value == _MOVE:
            if position + 2 > len(data):
                raise BrokenPicture("the BMP file is truncated: export it again.")
            x, y, position = x + data[position], y + data[position + 1], position + 2
            continue
        else:
            count, size = value, (value + 1) // 2 if has_halves else value
            run = data[position : position + size]
            run = b"".join(map(_HALVES.__getitem__, run))[:count] if has_halves else run
            position += size + size % 2
        run = run[: max(0, width - x)]
        indices[y * width + x : y * width + x + len(run)] = run
        x += count
    return indices


def _channel(pixels: np.ndarray[Any, Any], mask: int) -> np.ndarray[Any, Any]:
    """The levels of a channel in 0 to 255; a channel without a mask is 0."""
    if not mask:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    white = mask >> shift
    return (((pixels & mask) >> shift).astype(np.float64) * (255 / white)).round().astype(np.uint8)
