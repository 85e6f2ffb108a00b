"""Paper 002's colorizer: Zhang, Isola, Efros 2016, "Colorful Image Colorization", figure 2 and its released layers.

Eight blocks of 3 x 3 convolutions, most of them ended by batch norm; strides in the first three, dilation in the fifth and sixth;
the answer at a quarter of the sides, as a distribution over ab bins (read by annealed mean) or, for the L2 comparison, as ab
itself. What differs: nearest upsampling instead of a transposed convolution; blocks 1 to 5, which a classifier can be trained on
first and handed over (the paper's transfer), are an `Encoder`; the bins are our 260 cells instead of the authors' list of 313;
`width` scales all channels, because 32 px pictures need fewer.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from models.ab_bins import AbBins, srgb_cells
from models.colorizers.base import Regressor

Output = Literal["bins", "ab"]


def block(inputs: int, outputs: int, count: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """`count` convolutions with ReLU, the last one with the stride, then batch norm."""
    layers: list[nn.Module] = []
    for index in range(count):
        step = stride if index == count - 1 else 1
        layers += [nn.Conv2d(inputs, outputs, 3, stride=step, padding=dilation, dilation=dilation), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs))


class Encoder(nn.Sequential):
    """Blocks 1 to 5: lightness `(n,1,h,w)` in [0, 100] to features `(n,8 width,h/8,w/8)`."""

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


class Zhang(Regressor):
    """ab has a quarter of the sides of L, which must be multiples of 8.

    Args:
        width: channels of the first block; 64 as published.
        output: *bins* for the distribution, *ab* for the regression.
        bins: number of ab bins; the centres themselves are in the checkpoint.
        temperature: of the annealed mean; 0.38 in Zhang et al., 0.89 in paper 002.

    Raises:
        ValueError: there is no such output.
    """

    stride = 8
    ab_scale = 110.0

    def __init__(self, width: int = 64, output: Output = "bins", bins: int = 260, temperature: float = 0.38) -> None:
        super().__init__()
        if output not in get_args(Output):
            raise ValueError(f"output is {output!r}: give one of {', '.join(get_args(Output))}.")
        self.temperature = temperature
        self.encoder = Encoder(width)
        self.decoder = nn.Sequential(
            block(8 * width, 8 * width, 3, dilation=2), block(8 * width, 8 * width, 3), nn.Upsample(scale_factor=2),
            nn.Conv2d(8 * width, 4 * width, 3, padding=1), nn.ReLU(), nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Conv2d(4 * width, bins if output == "bins" else 2, 1)
        self.bins = AbBins(srgb_cells() if bins == 260 else torch.zeros(bins, 2)) if output == "bins" else None

    def predict(self, L: Tensor) -> Tensor:
        """Logits `(n,bins,h/4,w/4)`, or ab on the network's scale."""
        return cast(Tensor, self.last(self.decoder(self.encoder(L))))

    def unscaled(self, L: Tensor, predicted: Tensor) -> Tensor:
        """Ab of what `predict` gave: the annealed mean of a distribution."""
        if self.bins is None:
            return super().unscaled(L, predicted)
        return self.bins.annealed_mean(predicted.float(), self.temperature)
