"""Merges ab of a low resolution with luma of the full resolution, without changing the luma.

The networks predict CIELAB; files, and the promise about luma, are in BT.601. So ab is converted to Cb and Cr once, at a moderate
size, and only these two planes are resized to the full size. Where a color is outside the RGB gamut at a pixel's luma, chroma is
reduced.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.lab import lab_to_srgb, luma_to_lightness, rgb_to_luma
from models.luma import LUMA, UInt8Array, UInt16Array

Float32Array = NDArray[np.float32]
Levels = TypeVar("Levels", UInt8Array, UInt16Array)
Box = tuple[slice, slice]  # rows and columns of a picture

LONG_SIDE = 1024  # in pixels, of the planes at which ab is converted to Cb and Cr
TILE = 1024  # side in pixels of the tiles that are merged one at a time, which bounds the memory for large pictures

_RED, _GREEN, _BLUE = LUMA
# R, G and B per unit of Cb = (B - Y) / 1.772 and Cr = (R - Y) / 1.402
_CB = (0.0, -_BLUE * 1.772 / _GREEN, 1.772)
_CR = (1.402, -_RED * 1.402 / _GREEN, 0.0)


class YCbCr(NamedTuple):
    """The planes `(h,w)` of a JPEG file, in levels of 0 to 255."""

    y: UInt8Array
    cb: UInt8Array
    cr: UInt8Array


def resize(ab: Tensor, shape: tuple[int, int]) -> Tensor:
    """Ab `(n,2,h,w)` at another resolution, bilinear."""
    return F.interpolate(ab, shape, mode="bilinear", align_corners=False)


def chroma_planes(luma: UInt8Array, ab: Tensor) -> Float32Array:
    """Cb and Cr `(2,h',w')` in levels around 0, for a luma plane `(h,w)` and ab `(1,2,*,*)` in CIELAB units of any resolution.

    The planes have the shape of the luma plane, scaled down to a long side of 1024 px if it is larger.
    """
    height, width = luma.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    small = Image.fromarray(luma).resize(shape[::-1], Image.Resampling.BOX, reducing_gap=2.0)
    L = luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]
    rgb = lab_to_srgb(torch.cat((L, resize(ab.float().cpu(), shape)), dim=1))
    y = rgb_to_luma(rgb)
    cb, cr = (rgb[:, 2:] - y) / 1.772, (rgb[:, :1] - y) / 1.402
    return (torch.cat((cb, cr), dim=1)[0] * 255).numpy()


def join_rgb(luma: Levels, planes: Float32Array) -> Levels:
    """RGB `(h,w,3)` with the depth of `luma` `(h,w)`; its `convert("L")` differs from `luma` by at most 1, and nearly nowhere."""
    white = int(np.iinfo(luma.dtype).max)
    rgb = np.empty((*luma.shape, 3), luma.dtype)
    for box in _tiles(luma.shape):
        y = luma[box].astype(np.float32)
        offsets = [offset * (white / 255) for offset in _offsets(_resized(planes, luma.shape, box))]
        scale = _gamut_scale(y, y, offsets, white)
        red, green, blue = ((y + scale * offset).round().clip(0, white).astype(np.uint32) for offset in offsets)
        # compensate in green for the rounding of luma: one level of green is 0.587 levels of luma
        actual = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # Pillow's convert("L")
        missing = (luma[box].astype(np.int32) - actual.astype(np.int32)).clip(-1, 1)
        green = (green.astype(np.int32) + missing).clip(0, white)
        rgb[box] = np.stack((red, green, blue), axis=2)
    return rgb


def join_ycbcr(luma: UInt8Array, planes: Float32Array) -> YCbCr:
    """The planes of a JPEG file; Y is `luma` `(h,w)` itself.

    Cb and Cr are constant over squares of 2 x 2 pixels, the resolution of 4:2:0, and within the gamut of the brightest and the
    darkest pixel of each.
    """
    height, width = luma.shape
    even = np.pad(luma, ((0, height % 2), (0, width % 2)), mode="edge")
    corners = even[::2, ::2], even[1::2, ::2], even[::2, 1::2], even[1::2, 1::2]
    darkest, brightest = np.minimum.reduce(corners), np.maximum.reduce(corners)
    half = np.empty((2, *darkest.shape), np.uint8)
    for box in _tiles(darkest.shape):
        resized = _resized(planes, darkest.shape, box)
        scale = _gamut_scale(darkest[box].astype(np.float32), brightest[box].astype(np.float32), _offsets(resized))
        for plane, values in zip(half, resized, strict=True):
            plane[box] = (values * scale + 128).round().clip(0, 255)
    cb, cr = (plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] for plane in half)
    return YCbCr(luma, cb, cr)


def _tiles(shape: tuple[int, ...]) -> Iterator[Box]:
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            yield slice(top, min(shape[0], top + TILE)), slice(left, min(shape[1], left + TILE))


def _resized(planes: Float32Array, shape: tuple[int, ...], box: Box) -> list[Float32Array]:
    """A tile of the planes, resized to a picture of that shape."""
    down, across = planes.shape[1] / shape[0], planes.shape[2] / shape[1]
    rows, columns = box
    source = columns.start * across, rows.start * down, columns.stop * across, rows.stop * down
    size = columns.stop - columns.start, rows.stop - rows.start
    return [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR, box=source)) for plane in planes]


def _offsets(planes: list[Float32Array]) -> list[Float32Array]:
    """What Cb and Cr add to R, G and B."""
    cb, cr = planes
    return [cb * of_cb + cr * of_cr for of_cb, of_cr in zip(_CB, _CR, strict=True)]


def _gamut_scale(darkest: Float32Array, brightest: Float32Array, offsets: list[Float32Array], white: int = 255) -> Float32Array:
    """The largest factor up to 1 on the offsets for which both lumas plus the offsets stay within 0 and white."""
    scale = np.ones_like(darkest)
    for offset in offsets:
        limit = np.where(offset > 0, white - brightest, darkest)
        np.minimum(scale, limit / np.maximum(np.abs(offset), 1e-6), out=scale)
    return scale
