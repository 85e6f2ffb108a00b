"""Paper 004's baseline (its section 2.3): every pixel's column of VGG-16 features, and a small network on it that gives U and V.

Dahl 2016, "Automatic Colorization": the input and the last feature map before each of the first four pools, 3 + 64 + 128 + 256 +
512 = 963 channels on VGG-16, are brought to one resolution and read by convolutions; the picture is joined in YUV (BT.601). The
paper only names the method; two layers of 128 and 64 channels and a sigmoid are ours. What differs: the columns are read at half
the picture's sides, where chroma is fine enough and a pass a quarter of the work.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import TapRegressor
from models.lab import lab_to_srgb, lightness_to_luma, srgb_to_lab, srgb_to_uv, yuv_to_srgb
from models.vgg import STRIDE, Taps, VggTrunk

STRIDES = (1, 2, 4, 8)


class Hypercolumn(TapRegressor):
    """ab has half of the sides of L. Its own scale is U and V, moved into [0, 1]."""

    stride = STRIDE

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__(trunk)
        width = 3 + sum(trunk.channels[stride] for stride in STRIDES)
        self.norm = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(
            nn.Conv2d(width, 128, 1), nn.ReLU(), nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 2, 3, padding=1)
        )

    def read(self, taps: Taps, L: Tensor) -> Tensor:
        size = (L.shape[-2] // 2, L.shape[-1] // 2)
        grey = lightness_to_luma(L).expand(-1, 3, -1, -1)
        columns = [_resize(each, size) for each in (grey, *(taps[stride] for stride in STRIDES))]
        return cast(Tensor, self.layers(self.norm(torch.cat(columns, dim=1)))).float().sigmoid()

    def scaled(self, L: Tensor, ab: Tensor) -> Tensor:
        """U and V `(n,2,h,w)` in [0, 1] of the picture that L and ab make."""
        return srgb_to_uv(lab_to_srgb(torch.cat((L, ab), dim=1))) + 0.5

    def unscaled(self, L: Tensor, predicted: Tensor) -> Tensor:
        """Ab of the colour that Y of `L`, and U and V, make; out-of-gamut colours are clamped in RGB."""
        luma = _resize(lightness_to_luma(L), (predicted.shape[-2], predicted.shape[-1]))
        return srgb_to_lab(yuv_to_srgb(luma, predicted.float() - 0.5))[:, 1:]


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2] > size[0]:
        return F.interpolate(x, size, mode="area")
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
