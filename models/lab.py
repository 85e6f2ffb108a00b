"""Conversions between sRGB, CIELAB (D65), YUV and BT.601 luma, on tensors.

Layout: channels in dimension 1. RGB and luma are gamma-encoded, in [0, 1]; L is in [0, 100]; a and b are in CIELAB units, within
[-108, 99] for sRGB colors.
"""

import torch
from torch import Tensor

from models.luma import LUMA

_XYZ_FROM_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_RGB_FROM_XYZ = ((3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560), (0.0556434, -0.2040259, 1.0572252))
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29
_U_RANGE, _V_RANGE = 2 * (1 - LUMA[2]), 2 * (1 - LUMA[0])


def rgb_to_luma(rgb: Tensor) -> Tensor:
    """The BT.601 luma `(n,1,h,w)` of an RGB picture `(n,3,h,w)`, both in [0, 1]."""
    return _mix(rgb, (LUMA,))


def luma_to_lightness(gray: Tensor) -> Tensor:
    """The lightness L in [0, 100] of gray pixels of the given luma in [0, 1]; any shape."""
    return 116 * _lab_curve(_linear(gray)) - 16


def lightness_to_luma(L: Tensor) -> Tensor:
    """The inverse of `luma_to_lightness`: the luma in [0, 1] of a gray pixel of lightness L."""
    return _gamma(_lab_curve_inverse((L + 16) / 116))


def srgb_to_lab(rgb: Tensor) -> Tensor:
    """CIELAB `(n,3,h,w)` of an RGB picture `(n,3,h,w)` in [0, 1]."""
    white = torch.tensor(_WHITE, dtype=rgb.dtype, device=rgb.device).view(1, 3, 1, 1)
    x, y, z = _lab_curve(_mix(_linear(rgb), _XYZ_FROM_RGB) / white).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """RGB `(n,3,h,w)` in [0, 1] of CIELAB `(n,3,h,w)`; colors outside of the gamut are clipped in each channel."""
    L, a, b = lab.unbind(1)
    y = (L + 16) / 116
    xyz = _lab_curve_inverse(torch.stack((y + a / 500, y, y - b / 200), dim=1))
    white = torch.tensor(_WHITE, dtype=lab.dtype, device=lab.device).view(1, 3, 1, 1)
    return _gamma(_mix(xyz * white, _RGB_FROM_XYZ).clamp(0, 1))


def srgb_to_uv(rgb: Tensor) -> Tensor:
    """U and V `(n,2,h,w)` in [-0.5, 0.5] of an RGB picture `(n,3,h,w)` in [0, 1]: BT.601, both scaled to that range."""
    red, _, blue = rgb.unbind(1)
    y = rgb_to_luma(rgb)[:, 0]
    return torch.stack(((blue - y) / _U_RANGE, (red - y) / _V_RANGE), dim=1)


def yuv_to_srgb(y: Tensor, uv: Tensor) -> Tensor:
    """RGB `(n,3,h,w)` in [0, 1] of luma `(n,1,h,w)` and the U and V of `srgb_to_uv`; clipped in each channel."""
    blue, red = y[:, 0] + uv[:, 0] * _U_RANGE, y[:, 0] + uv[:, 1] * _V_RANGE
    green = (y[:, 0] - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return torch.stack((red, green, blue), dim=1).clamp(0, 1)


def _mix(channels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    weights = torch.tensor(matrix, dtype=channels.dtype, device=channels.device)
    with torch.autocast(channels.device.type, enabled=False):  # half precision would shift colors
        return torch.einsum("oc,nchw->nohw", weights, channels)


def _linear(encoded: Tensor) -> Tensor:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _gamma(linear: Tensor) -> Tensor:
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def _lab_curve(t: Tensor) -> Tensor:
    return torch.where(t > _DELTA**3, t.clamp(min=_DELTA**3) ** (1 / 3), t / (3 * _DELTA**2) + 4 / 29)


def _lab_curve_inverse(t: Tensor) -> Tensor:
    return torch.where(t > _DELTA, t**3, 3 * _DELTA**2 * (t - 4 / 29))
