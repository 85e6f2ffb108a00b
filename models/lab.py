"""Conversions between sRGB, CIELAB (D65), YUV and BT.601 luma, on NumPy arrays and on tensors.

Layout: channels in dimension 1. RGB and luma are gamma-encoded, in [0, 1]; L is in [0, 100]; a and b are in CIELAB units, within
[-108, 99] for sRGB colors.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from models.luma import LUMA

if TYPE_CHECKING:  # servers that do not run torch do not import it
    from torch import Tensor

Float32Array = NDArray[np.float32]
Array = TypeVar("Array", "Tensor", Float32Array)

_XYZ_FROM_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_RGB_FROM_XYZ = ((3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560), (0.0556434, -0.2040259, 1.0572252))
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29
_U_RANGE, _V_RANGE = 2 * (1 - LUMA[2]), 2 * (1 - LUMA[0])


def rgb_to_luma(rgb: Array) -> Array:
    """The BT.601 luma `(n,1,h,w)` of an RGB picture `(n,3,h,w)`, both in [0, 1]."""
    result: Array = _mix(_channels(rgb), LUMA)[:, None]
    return result


def luma_to_lightness(gray: Array) -> Array:
    """The lightness L in [0, 100] of gray pixels of the given luma in [0, 1]; any shape."""
    result: Array = 116 * _lab_curve(_linear(gray)) - 16
    return result


@cache
def lightness_levels() -> Float32Array:
    """The lightness `(256,)` in [0, 100] of each level of luma."""
    result: Float32Array = luma_to_lightness(np.linspace(0, 1, 256, dtype=np.float32))
    return result


def lightness_to_luma(L: Array) -> Array:
    """The inverse of `luma_to_lightness`: the luma in [0, 1] of a gray pixel of lightness L."""
    result: Array = _gamma(_lab_curve_inverse((L + 16) / 116))
    return result


def srgb_to_lab(rgb: Array) -> Array:
    """CIELAB `(n,3,h,w)` of an RGB picture `(n,3,h,w)` in [0, 1]."""
    linear = _channels(_linear(rgb))
    x, y, z = (_lab_curve(_mix(linear, row) / white) for row, white in zip(_XYZ_FROM_RGB, _WHITE, strict=True))
    result: Array = _stack(116 * y - 16, 500 * (x - y), 200 * (y - z))
    return result


def lab_to_srgb(lab: Array) -> Array:
    """RGB `(n,3,h,w)` in [0, 1] of CIELAB `(n,3,h,w)`; colors outside of the gamut are clipped in each channel."""
    L, a, b = _channels(lab)
    y = (L + 16) / 116
    xyz = [_lab_curve_inverse(value) * white for value, white in zip((y + a / 500, y, y - b / 200), _WHITE, strict=True)]
    result: Array = _gamma(_clip(_stack(*(_mix(xyz, row) for row in _RGB_FROM_XYZ)), 0, 1))
    return result


def srgb_to_uv(rgb: Array) -> Array:
    """U and V `(n,2,h,w)` in [-0.5, 0.5] of an RGB picture `(n,3,h,w)` in [0, 1]: BT.601, both scaled to that range."""
    red, _, blue = _channels(rgb)
    y = rgb_to_luma(rgb)[:, 0]
    result: Array = _stack((blue - y) / _U_RANGE, (red - y) / _V_RANGE)
    return result


def yuv_to_srgb(y: Array, uv: Array) -> Array:
    """RGB `(n,3,h,w)` in [0, 1] of luma `(n,1,h,w)` and the U and V of `srgb_to_uv`; clipped in each channel."""
    blue, red = y[:, 0] + uv[:, 0] * _U_RANGE, y[:, 0] + uv[:, 1] * _V_RANGE
    green = (y[:, 0] - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    result: Array = _clip(_stack(red, green, blue), 0, 1)
    return result


def _channels(array: Any) -> list[Any]:
    return [array[:, index] for index in range(array.shape[1])]


def _stack(*channels: Any) -> Any:
    return array_namespace(*channels).stack(channels, axis=1)


def _mix(channels: list[Any], weights: tuple[float, ...]) -> Any:
    first, second, third = (weight * channel for weight, channel in zip(weights, channels, strict=True))
    return first + second + third


def _clip(array: Any, low: float | None, high: float | None = None) -> Any:
    return array_namespace(array).clip(array, low, high)


def _where(condition: Any, positive: Any, negative: Any) -> Any:
    return array_namespace(positive).where(condition, positive, negative)


def _linear(encoded: Any) -> Any:
    return _where(encoded <= 0.04045, encoded / 12.92, ((_clip(encoded, 0.04045) + 0.055) / 1.055) ** 2.4)


def _gamma(linear: Any) -> Any:
    return _where(linear <= 0.0031308, linear * 12.92, 1.055 * _clip(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _lab_curve(t: Any) -> Any:
    return _where(t > _DELTA**3, _clip(t, _DELTA**3) ** (1 / 3), t / (3 * _DELTA**2) + 4 / 29)


def _lab_curve_inverse(t: Any) -> Any:
    return _where(t > _DELTA, t**3, 3 * _DELTA**2 * (t - 4 / 29))
