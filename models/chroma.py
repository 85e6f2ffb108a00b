"""Low-resolution ab and a full-resolution luma become colour that keeps the picture's own luma.

The networks speak CIELAB; files and the promise about luma speak BT.601. So ab is turned into Cb and Cr once, at a moderate size,
and only these two planes grow to the size of the picture. Where a colour does not fit into RGB at a pixel's luma, chroma gives way.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.lab import LUMA, lab_to_srgb, luma, luma_to_lightness

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

LONG_SIDE = 1024  # of the planes that ab is turned into Cb and Cr at, in pixels
STRIP = 256  # rows that are joined at a time, so that 50 megapixels need little memory

_RED, _GREEN, _BLUE = LUMA
# What a unit of (Cb, Cr) adds to R, G and B; Cb = (B - Y) / 1.772 and Cr = (R - Y) / 1.402
_CB = (0.0, -_BLUE * 1.772 / _GREEN, 1.772)
_CR = (1.402, -_RED * 1.402 / _GREEN, 0.0)


def chroma_planes(grey: Bytes, ab: Tensor) -> Floats:
    """Cb and Cr `(2,h',w')` in levels around 0 for a luma plane `(h,w)` and ab `(1,2,*,*)` in CIELAB units of any size.

    The planes have the shape of the luma plane, or its aspect at 1024 px if that is smaller.
    """
    height, width = grey.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    small = Image.fromarray(grey).resize(shape[::-1], Image.Resampling.BOX, reducing_gap=2.0)
    L = luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]
    ab = resize(ab.float().cpu(), shape)
    rgb = lab_to_srgb(torch.cat((L, ab), dim=1))
    y = luma(rgb)
    cb, cr = (rgb[:, 2:] - y) / 1.772, (rgb[:, :1] - y) / 1.402
    return (torch.cat((cb, cr), dim=1)[0] * 255).numpy()


def resize(ab: Tensor, shape: tuple[int, int]) -> Tensor:
    """Ab `(n,2,h,w)` at another resolution."""
    return F.interpolate(ab, shape, mode="bilinear", align_corners=False)


def join_rgb(grey: Bytes, planes: Floats) -> Bytes:
    """RGB `(h,w,3)` whose `convert("L")` is `grey` `(h,w)`, to within 1 and nearly everywhere exactly."""
    rgb = np.empty((*grey.shape, 3), np.uint8)
    for top, bottom in _strips(grey.shape[0]):
        y = grey[top:bottom].astype(np.float32)
        cb, cr = _grown(planes, grey.shape, top, bottom)
        offsets = [cb * of_cb + cr * of_cr for of_cb, of_cr in zip(_CB, _CR, strict=True)]
        room = _room(y, offsets)
        red, green, blue = ((y + room * offset).round().clip(0, 255).astype(np.int32) for offset in offsets)
        # take back what rounding did to luma: one level of green is 0.587 levels of it
        actual = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # Pillow's convert("L")
        green = (green + (grey[top:bottom] - actual).clip(-1, 1)).clip(0, 255)
        rgb[top:bottom] = np.stack((red, green, blue), axis=2)
    return rgb


def join_ycbcr(grey: Bytes, planes: Floats) -> tuple[Bytes, Bytes, Bytes]:
    """The Y, Cb and Cr planes `(h,w)` of a JPEG file; Y is `grey` itself."""
    height, width = planes.shape[1:]
    y = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX, reducing_gap=2.0), np.float32)
    room = _room(y, [planes[0] * of_cb + planes[1] * of_cr for of_cb, of_cr in zip(_CB, _CR, strict=True)])
    small = (planes * room + 128).round().clip(0, 255).astype(np.uint8)
    size = grey.shape[1], grey.shape[0]
    cb, cr = (np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in small)
    return grey, cb, cr


def _strips(rows: int) -> Iterator[tuple[int, int]]:
    for top in range(0, rows, STRIP):
        yield top, min(rows, top + STRIP)


def _grown(planes: Floats, shape: tuple[int, int], top: int, bottom: int) -> list[Floats]:
    """Rows `top` to `bottom` of the planes at full size."""
    height, width = planes.shape[1:]
    box = (0, top * height / shape[0], width, bottom * height / shape[0])
    return [
        np.asarray(Image.fromarray(plane).resize((shape[1], bottom - top), Image.Resampling.BILINEAR, box=box)) for plane in planes
    ]


def _room(y: Floats, offsets: list[Floats]) -> Floats:
    """The largest factor up to 1 for which y plus the offsets stays within 0 and 255."""
    room = np.ones_like(y)
    for offset in offsets:
        limit = np.where(offset > 0, 255 - y, y)
        np.minimum(room, limit / np.maximum(np.abs(offset), 1e-6), out=room)
    return room
