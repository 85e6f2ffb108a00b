"""Low-resolution ab and a full-resolution luma become colour that keeps the picture's own luma.

The networks speak CIELAB; files and the promise about luma speak BT.601. So ab is turned into Cb and Cr once, at a moderate size,
and only these two planes grow to the picture's size. Where a colour does not fit into RGB at a pixel's luma, chroma gives way.
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.greys import Bytes, Words
from models.lab import LUMA, lab_to_srgb, luma, luma_to_lightness

Floats = NDArray[np.float32]
Levels = TypeVar("Levels", Bytes, Words)
Box = tuple[slice, slice]  # rows and columns of a picture

LONG_SIDE = 1024  # of the planes that ab is turned into Cb and Cr at, in pixels
TILE = 1024  # side of the pieces that are joined at a time, so that 50 megapixels of any shape need little memory

_RED, _GREEN, _BLUE = LUMA
# What a unit of (Cb, Cr) adds to R, G and B; Cb = (B - Y) / 1.772 and Cr = (R - Y) / 1.402
_CB = (0.0, -_BLUE * 1.772 / _GREEN, 1.772)
_CR = (1.402, -_RED * 1.402 / _GREEN, 0.0)


def resize(ab: Tensor, shape: tuple[int, int]) -> Tensor:
    """Ab `(n,2,h,w)` at another resolution."""
    return F.interpolate(ab, shape, mode="bilinear", align_corners=False)


def chroma_planes(grey: Bytes, ab: Tensor) -> Floats:
    """Cb and Cr `(2,h',w')` in levels around 0 for a luma plane `(h,w)` and ab `(1,2,*,*)` in CIELAB units of any size.

    The planes have the shape of the luma plane, or its aspect at 1024 px if that is smaller.
    """
    height, width = grey.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    small = Image.fromarray(grey).resize(shape[::-1], Image.Resampling.BOX, reducing_gap=2.0)
    L = luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]
    rgb = lab_to_srgb(torch.cat((L, resize(ab.float().cpu(), shape)), dim=1))
    y = luma(rgb)
    cb, cr = (rgb[:, 2:] - y) / 1.772, (rgb[:, :1] - y) / 1.402
    return (torch.cat((cb, cr), dim=1)[0] * 255).numpy()


def join_rgb(grey: Levels, planes: Floats) -> Levels:
    """RGB `(h,w,3)` of the depth of `grey` `(h,w)`, whose `convert("L")` is `grey`, to within 1 and nearly everywhere exactly."""
    white = int(np.iinfo(grey.dtype).max)
    rgb = np.empty((*grey.shape, 3), grey.dtype)
    for box in _tiles(grey.shape):
        y = grey[box].astype(np.float32)
        offsets = [offset * (white / 255) for offset in _offsets(_grown(planes, grey.shape, box))]
        room = _room(y, y, offsets, white)
        red, green, blue = ((y + room * offset).round().clip(0, white).astype(np.uint32) for offset in offsets)
        # take back what rounding did to luma: one level of green is 0.587 levels of it
        actual = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # Pillow's convert("L")
        missing = (grey[box].astype(np.int32) - actual.astype(np.int32)).clip(-1, 1)
        green = (green.astype(np.int32) + missing).clip(0, white)
        rgb[box] = np.stack((red, green, blue), axis=2)
    return rgb


def join_ycbcr(grey: Bytes, planes: Floats) -> tuple[Bytes, Bytes, Bytes]:
    """The Y, Cb and Cr planes `(h,w)` of a JPEG file; Y is `grey` itself.

    Cb and Cr are constant over squares of 2 x 2, the places that 4:2:0 keeps, and fit the brightest and the darkest pixel of each.
    """
    height, width = grey.shape
    even = np.pad(grey, ((0, height % 2), (0, width % 2)), mode="edge")
    corners = even[::2, ::2], even[1::2, ::2], even[::2, 1::2], even[1::2, 1::2]
    darkest, brightest = np.minimum.reduce(corners), np.maximum.reduce(corners)
    half = np.empty((2, *darkest.shape), np.uint8)
    for box in _tiles(darkest.shape):
        grown = _grown(planes, darkest.shape, box)
        room = _room(darkest[box].astype(np.float32), brightest[box].astype(np.float32), _offsets(grown))
        for plane, values in zip(half, grown, strict=True):
            plane[box] = (values * room + 128).round().clip(0, 255)
    cb, cr = (plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] for plane in half)
    return grey, cb, cr


def _tiles(shape: tuple[int, ...]) -> Iterator[Box]:
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            yield slice(top, min(shape[0], top + TILE)), slice(left, min(shape[1], left + TILE))


def _grown(planes: Floats, shape: tuple[int, ...], box: Box) -> list[Floats]:
    """A piece of the planes at the size of a picture of that shape."""
    down, across = planes.shape[1] / shape[0], planes.shape[2] / shape[1]
    rows, columns = box
    source = columns.start * across, rows.start * down, columns.stop * across, rows.stop * down
    size = columns.stop - columns.start, rows.stop - rows.start
    return [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, box=source)) for plane in planes]


def _offsets(grown: list[Floats]) -> list[Floats]:
    """What Cb and Cr add to R, G and B."""
    cb, cr = grown
    return [cb * of_cb + cr * of_cr for of_cb, of_cr in zip(_CB, _CR, strict=True)]


def _room(darkest: Floats, brightest: Floats, offsets: list[Floats], white: int = 255) -> Floats:
    """The largest factor up to 1 for which both lumas plus the offsets stay within 0 and white."""
    room = np.ones_like(darkest)
    for offset in offsets:
        limit = np.where(offset > 0, white - brightest, darkest)
        np.minimum(room, limit / np.maximum(np.abs(offset), 1e-6), out=room)
    return room
