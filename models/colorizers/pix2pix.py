"""The generator of pix2pix, of which paper 004 trains one per class: a U-Net with skip connections and dropout as its noise.

Isola, Zhu, Zhou, Efros 2017, section 3.2 and appendix 6.1.1: encoder C64-C128-C256-C512-C512-C512-C512-C512, decoder
CD512-CD512-CD512-C512-C256-C128-C64, all of 4 x 4 and stride 2, leaky ReLU 0.2 down and ReLU up, dropout 0.5 in the three deepest
stages, tanh at the end. What differs: L in and ab out instead of RGB; no batch norm at the innermost stage, where a picture has one
value a channel. Dropout stays on at inference as in the paper, but its masks are drawn from a fixed seed, so that a picture always
gets the same colors; batch norm then uses its running statistics instead of those of the picture.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import RegressionColorizer

DROPOUT_STAGES = 3


class Pix2Pix(RegressionColorizer):
    """U-Net generator; ab has the size of L, whose sides must be multiples of `stride`, 2 to the power of `depth`.

    Args:
        width: channels of the first stage; 64 in the paper.
        depth: number of halvings, 4 to 8. The paper has 8 at 256 px, which ends at 1 x 1; the same at 128 px is 7.
        noise: keep dropout on at inference.

    Raises:
        ValueError: `depth` is not between 4 and 8.
    """

    ab_scale = 110.0

    def __init__(self, width: int = 64, depth: int = 8, noise: bool = True) -> None:
        super().__init__()
        if not 4 <= depth <= 8:
            raise ValueError(f"depth is {depth}: give 4 to 8.")
        self.stride = 2**depth
        self.noise = noise
        channels = [min(width * 2**stage, width * 8) for stage in range(depth)]
        self.down = nn.ModuleList(
            Down(1 if stage == 0 else channels[stage - 1], channels[stage], norm=0 < stage < depth - 1) for stage in range(depth)
        )
        self.up = nn.ModuleList(
            Up(channels[stage] * (1 if stage == depth - 1 else 2), channels[stage - 1]) for stage in range(depth - 1, 0, -1)
        )
        self.last = nn.ConvTranspose2d(channels[0] * 2, 2, 4, stride=2, padding=1)

    def predict(self, L: Tensor) -> Tensor:
        x = L / 50 - 1
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for stage, up in enumerate(self.up):
            x = up(x)
            if stage < DROPOUT_STAGES:
                x = self._dropout(x, stage)
            x = torch.cat((x, skips.pop()), dim=1)
        return torch.tanh(self.last(F.relu(x)))

    def _dropout(self, x: Tensor, stage: int) -> Tensor:
        if self.training or not self.noise:
            return F.dropout(x, 0.5, self.training)
        kept = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(stage)) >= 0.5
        return 2 * x * kept.to(x.device)


class Down(nn.Module):
    """Leaky ReLU, a 4 x 4 convolution of stride 2, batch norm."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.first = inputs == 1
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x if self.first else F.leaky_relu(x, 0.2)))
        return x


class Up(nn.Module):
    """ReLU, a transposed 4 x 4 convolution of stride 2, batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(F.relu(x)))
        return x
