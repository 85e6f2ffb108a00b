"""Zhang, Zhu, Isola, Geng, Lin, Yu, Efros 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors".

The main branch of figure 2 as its authors released it: a U-Net of ten blocks whose input has, beside lightness, the colors of
points that a person has chosen, and a mask of these points. What differs: the branch that classifies colors, which the release does
not use to predict, is left out.
"""

import torch
from torch import Tensor, nn

from models.colorizers.base import HintedColorizer, RegressionColorizer
from models.colorizers.zhang import block


class Siggraph17(RegressionColorizer, HintedColorizer):
    """Predicts ab at the sides of L, which must be multiples of 8; chosen colors are part of its input.

    Args:
        width: channels of the first block; 64 as published.
        mask_offset: is subtracted from the mask; 0 in the release of the weights, 0.5 in other versions.
    """

    stride = 8
    ab_scale = 110.0

    def __init__(self, width: int = 64, mask_offset: float = 0.0) -> None:
        super().__init__()
        self.mask_offset = mask_offset
        self.down = nn.ModuleList(
            [block(4, width, 2), block(width, 2 * width, 2), block(2 * width, 4 * width, 3), block(4 * width, 8 * width, 3)]
        )
        self.middle = nn.Sequential(
            block(8 * width, 8 * width, 3, dilation=2), block(8 * width, 8 * width, 3, dilation=2), block(8 * width, 8 * width, 3)
        )
        self.up = nn.ModuleList(
            [
                _Up(8 * width, 4 * width, 4 * width, 2),
                _Up(4 * width, 2 * width, 2 * width, 1),
                _Up(2 * width, width, 2 * width, 1, last=True),
            ]
        )
        self.last = nn.Conv2d(2 * width, 2, 1)

    def predict_with_hints(self, L: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
        x = torch.cat(((L - 50) / 100, ab / self.ab_scale, mask - self.mask_offset), dim=1)
        skipped = []
        for stage in self.down:
            x = stage(x)
            skipped.append(x)
            x = x[:, :, ::2, ::2]
        x = self.middle(skipped.pop())
        for stage in self.up:
            x = stage(x, skipped.pop())
        output: Tensor = torch.tanh(self.last(x))
        return output


class _Up(nn.Module):
    """Doubles the sides, adds the features of the same resolution, and convolves."""

    def __init__(self, inputs: int, skipped: int, outputs: int, count: int, last: bool = False) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.skip = nn.Conv2d(skipped, outputs, 3, padding=1)
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(count):
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2) if last else nn.ReLU()]
        self.convolve = nn.Sequential(*layers, *([] if last else [nn.BatchNorm2d(outputs)]))

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        output: Tensor = self.convolve(self.enlarge(x) + self.skip(skipped))
        return output
