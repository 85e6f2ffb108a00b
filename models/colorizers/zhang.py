"""Paper 002's colorizer: Zhang, Isola, Efros 2016, "Colorful Image Colorization", figure 2 and its released layers.

Eight blocks of 3 x 3 convolutions, most of them followed by batch norm; strides in the first three blocks, dilation in the fifth
and sixth; output at a quarter of the sides. `Zhang` predicts a distribution over ab bins, `ZhangRegression` predicts ab itself for
the paper's L2 comparison. What differs: nearest upsampling instead of a transposed
convolution, unless it is asked for; blocks 1 to 5, which can be
pretrained as a classifier (the paper's transfer learning), are an `Encoder`; 260 bins of our own instead of the authors' 313;
`width` scales all channels, because pictures of 32 px need fewer.
"""

from typing import cast

import torch
from torch import Tensor, nn

from models.ab_bins import AbBins, srgb_cells
from models.colorizers.base import BinColorizer, RegressionColorizer

STRIDE = 8


def block(inputs: int, outputs: int, count: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """`count` convolutions with ReLU, the last of which has the stride, then batch norm."""
    layers: list[nn.Module] = []
    for index in range(count):
        step = stride if index == count - 1 else 1
        layers += [nn.Conv2d(inputs, outputs, 3, stride=step, padding=dilation, dilation=dilation), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs))


class Encoder(nn.Sequential):
    """Blocks 1 to 5: features `(n,8 width,h/8,w/8)` of lightness `(n,1,h,w)` in [0, 100]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__(
            block(1, width, 2, 2), block(width, 2 * width, 2, 2), block(2 * width, 4 * width, 3, 2),
            block(4 * width, 8 * width, 3), block(8 * width, 8 * width, 3, dilation=2),
        )  # fmt: skip
        self.channels = 8 * width

    def forward(self, L: Tensor) -> Tensor:
        x = (L - 50) / 100
        for stage in self:
            x = stage(x)
        return x


def _decoder(width: int, transposed: bool = False) -> nn.Sequential:
    """Blocks 6 to 8: features `(n,4 width,h/4,w/4)` of those of the encoder."""
    double: list[nn.Module] = [nn.Upsample(scale_factor=2), nn.Conv2d(8 * width, 4 * width, 3, padding=1)]
    if transposed:
        double = [nn.ConvTranspose2d(8 * width, 4 * width, 4, stride=2, padding=1)]
    return nn.Sequential(
        block(8 * width, 8 * width, 3, dilation=2), block(8 * width, 8 * width, 3), *double, nn.ReLU(),
        nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class Zhang(BinColorizer):
    """Predicts a distribution over ab bins; ab has a quarter of the sides of L, which must be multiples of 8.

    Args:
        width: channels of the first block; 64 as published.
        bins: number of ab bins; their centers are in the checkpoint.
        temperature: of the annealed mean; 0.38 in Zhang et al., 0.89 in paper 002.
        transposed: whether the sides are doubled by a transposed convolution, as published.
    """

    stride = STRIDE

    def __init__(self, width: int = 64, bins: int = 260, temperature: float = 0.38, transposed: bool = False) -> None:
        super().__init__()
        self.temperature = temperature
        self.encoder = Encoder(width)
        self.decoder = _decoder(width, transposed)
        self.last = nn.Conv2d(4 * width, bins, 1)
        self.bins = AbBins(srgb_cells() if bins == 260 else torch.zeros(bins, 2))

    def predict(self, L: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.decoder(self.encoder(L))))


class ZhangRegression(RegressionColorizer):
    """The same layers with ab as output, for the paper's L2 comparison. `width` as for `Zhang`."""

    stride = STRIDE
    ab_scale = 110.0

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.decoder = _decoder(width)
        self.last = nn.Conv2d(4 * width, 2, 1)

    def predict(self, L: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.decoder(self.encoder(L))))
