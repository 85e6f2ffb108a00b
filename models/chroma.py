"""Merges ab of a low resolution with luma of the full resolution, without changing the luma.

The networks predict CIELAB; files, and the promise about luma, are in BT.601. So ab is converted to Cb and Cr once, at a moderate
size, and only these two planes are resized to the full size. Where a color is outside the RGB gamut at a pixel's luma, chroma is
reduced.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from models.lab import Float32Array, lab_to_srgb, lightness_levels, rgb_to_luma
from models.luma import LUMA, UInt8Array, UInt16Array

Levels = TypeVar("Levels", UInt8Array, UInt16Array)

LONG_SIDE = 256  # in pixels, of the planes at which ab is converted to Cb and Cr
STRIP = 32  # rows or columns that are interpolated at a time, so that intermediate values stay in the cache of a core

_RED, _GREEN, _BLUE = LUMA
_CB, _CR = 2 * (1 - _BLUE), 2 * (1 - _RED)  # B is luma + 1.772 Cb, and R is luma + 1.402 Cr
_LEAST = 1e-3  # levels, to divide by


class YCbCr(NamedTuple):
    """The planes of a JPEG file, in levels of 0 to 255: Y `(h,w)`, Cb and Cr of half the sides, rounded up."""

    y: UInt8Array
    cb: UInt8Array
    cr: UInt8Array


def resize(planes: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Planes `(...,h,w)` at another resolution, bilinear."""
    if planes.shape[-2:] == shape:
        return planes
    flat = planes.reshape(-1, *planes.shape[-2:])
    resized = [np.asarray(Image.fromarray(plane).resize(shape[::-1], Image.Resampling.BILINEAR)) for plane in flat]
    return np.stack(resized).reshape(*planes.shape[:-2], *shape)


def plane_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The height and the width of the planes of a picture of this height and width."""
    height, width = shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def small_luma(luma: UInt8Array, shape: tuple[int, int]) -> UInt8Array:
    """The luma plane at a lower resolution."""
    return np.asarray(Image.fromarray(luma).resize(shape[::-1], Image.Resampling.BOX, reducing_gap=2.0))


def chroma_planes(luma: UInt8Array, ab: Float32Array) -> Float32Array:
    """Cb and Cr `(2,h',w')` in levels around 0, for a luma plane `(h,w)` and ab `(1,2,*,*)` in CIELAB units of any resolution.

    The planes have the shape of the luma plane, scaled down to a long side of 256 px if it is larger.
    """
    shape = plane_shape(luma.shape)
    L = lightness_levels()[small_luma(luma, shape)][None, None]
    rgb = lab_to_srgb(np.concatenate((L, resize(ab, shape)), axis=1))
    y = rgb_to_luma(rgb)[0, 0]
    return np.stack(((rgb[0, 2] - y) / _CB, (rgb[0, 0] - y) / _CR)) * 255


def join_rgb(luma: Levels, planes: Float32Array) -> Levels:
    """RGB `(h,w,3)` with the depth of `luma` `(h,w)`; its `convert("L")` differs from `luma` by at most 1, and nearly nowhere."""
    white = int(np.iinfo(luma.dtype).max)
    rgb = np.empty((*luma.shape, 3), luma.dtype)
    for rows, cb, cr, up, down in _strips(planes * (white / 255), luma.shape):
        y = luma[rows].astype(np.float32)
        scale = _gamut_scale(y, y, up, down, white)
        red, blue = ((y + factor * chroma * scale).round().clip(0, white) for factor, chroma in ((_CR, cr), (_CB, cb)))
        green = ((y - _RED * red - _BLUE * blue) / _GREEN).round().clip(0, white)  # which makes up for their rounding
        for channel, values in enumerate((red, green, blue)):
            rgb[rows, :, channel] = values
    return rgb


def join_ycbcr(luma: UInt8Array, planes: Float32Array) -> YCbCr:
    """The planes of a JPEG file; Y is `luma` `(h,w)` itself.

    Cb and Cr have half the sides, as in 4:2:0, and are within the gamut of the brightest and the darkest pixel of each square of
    2 x 2 pixels.
    """
    half = (luma.shape[0] + 1) // 2, (luma.shape[1] + 1) // 2
    joined = YCbCr(luma, np.empty(half, np.uint8), np.empty(half, np.uint8))
    for rows, cb, cr, up, down in _strips(planes, half):
        scale = _gamut_scale(*_extremes(luma[2 * rows.start : 2 * rows.stop]), up, down)
        joined.cb[rows] = np.minimum(cb * scale + 128.5, 255)
        joined.cr[rows] = np.minimum(cr * scale + 128.5, 255)
    return joined


def _strips(planes: Float32Array, shape: tuple[int, int]) -> Iterator[Any]:
    """Planes of Cb and Cr at another resolution, bilinear, some rows at a time, with the room that the colors need.

    Yields the rows, Cb, Cr, and how much brighter and how much darker than luma the channels are at most, which is above 0.
    """
    cb, cr = planes
    offsets = np.stack((_CR * cr, -(_CR * _RED * cr + _CB * _BLUE * cb) / _GREEN, _CB * cb))
    # interpolated room is enough for interpolated colors
    room = np.maximum(np.stack((offsets.max(axis=0), -offsets.min(axis=0))), _LEAST)
    columns = _interpolated(np.concatenate((planes, room)).swapaxes(1, 2), shape[1])
    wide = np.ascontiguousarray(np.concatenate([part for _, part in columns], axis=1).swapaxes(1, 2))
    for rows, part in _interpolated(wide, shape[0]):
        yield rows, *part


def _interpolated(planes: Float32Array, size: int) -> Iterator[tuple[slice, Float32Array]]:
    """Planes `(n,h,w)` resized to the height `size`, some rows at a time."""
    height = planes.shape[1]
    position = ((np.arange(size, dtype=np.float32) + 0.5) * (height / size) - 0.5).clip(0, height - 1)
    for top in range(0, size, STRIP):
        rows = slice(top, min(size, top + STRIP))
        first, last = int(position[rows.start]), int(np.ceil(position[rows.stop - 1]))
        weights = (1 - np.abs(position[rows, None] - np.arange(first, last + 1, dtype=np.float32))).clip(0)
        yield rows, weights @ planes[:, first : last + 1]


def _extremes(luma: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """The darkest and the brightest of each square of 2 x 2 pixels."""
    height, width = luma.shape
    even = np.pad(luma, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else luma
    extremes = []
    for select in (np.minimum, np.maximum):
        pairs = np.ascontiguousarray(select(even[::2], even[1::2])).view(np.uint16)  # several times faster than every second column
        extremes.append(select(pairs & 255, pairs >> 8).astype(np.float32))
    return extremes[0], extremes[1]


def _gamut_scale(darkest: Float32Array, brightest: Float32Array, up: Any, down: Any, white: int = 255) -> Float32Array:
    """The largest factor up to 1 on a color for which both lumas with it are within 0 and white, if it needs so much room."""
    scale: Float32Array = np.minimum((white - brightest) / up, darkest / down)
    return np.minimum(scale, 1)
