"""Paper 004's baseline (its section 2.3): a small network on the hypercolumn of VGG-16 features of every pixel, which predicts UV.

Dahl 2016, "Automatic Colorization": the input and the last feature map before each of the first four pooling layers, 3 + 64 + 128 +
256 + 512 = 963 channels on VGG-16, are resized to one resolution and read by convolutions; the picture is merged in YUV (BT.601).
The paper only names the method: the layers of 128 and 64 channels and the sigmoid are ours. What differs: hypercolumns are read at
half of the picture's sides, which is enough for chroma and a quarter of the work.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import RegressionColorizer, TapColorizer
from models.lab import lab_to_srgb, lightness_to_luma, srgb_to_lab, srgb_to_uv, yuv_to_srgb
from models.vgg import STRIDE, Taps, VggTrunk

STRIDES = (1, 2, 4, 8)


class Hypercolumn(TapColorizer, RegressionColorizer):
    """ab has half of the sides of L. The scale of the network is U and V, shifted to [0, 1]."""

    stride = STRIDE

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__(trunk)
        width = 3 + sum(trunk.channels[stride] for stride in STRIDES)
        self.norm = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(
            nn.Conv2d(width, 128, 1), nn.ReLU(), nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 2, 3, padding=1)
        )

    def predict_from_taps(self, taps: Taps, L: Tensor) -> Tensor:
        size = (L.shape[-2] // 2, L.shape[-1] // 2)
        gray = lightness_to_luma(L).expand(-1, 3, -1, -1)
        columns = [_resize(features, size) for features in (gray, *(taps[stride] for stride in STRIDES))]
        return cast(Tensor, self.layers(self.norm(torch.cat(columns, dim=1)))).float().sigmoid()

    def encode(self, ab: Tensor, L: Tensor) -> Tensor:
        """U and V `(n,2,h,w)` in [0, 1] of the picture with this L and ab."""
        return srgb_to_uv(lab_to_srgb(torch.cat((L, ab), dim=1))) + 0.5

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        """Ab of the color with the luma of `L` and these U and V; colors outside of the gamut are clamped in RGB."""
        luma = _resize(lightness_to_luma(L), (predicted.shape[-2], predicted.shape[-1]))
        return srgb_to_lab(yuv_to_srgb(luma, predicted.float() - 0.5))[:, 1:]


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2] > size[0]:
        return F.interpolate(x, size, mode="area")
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
