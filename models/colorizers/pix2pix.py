"""pix2pix's generator, as paper 004 uses it one model a class: a U-Net with skip connections and dropout.

Isola, Zhu, Zhou, Efros 2017, section 3.2 and appendix 6.1.1: encoder C64-C128-C256-C512..., decoder with dropout 0.5 in its three
deepest stages, leaky ReLU 0.2 down and ReLU up, tanh at the end. What differs: ab in and out of CIELAB instead of RGB; nearest
upsampling and convolution instead of transposed convolutions (no checkerboard, and faster on a CPU); dropout is noise in training
and, so that the same picture always gets the same colours, off when serving (`noise=True` keeps it on, as the paper does).
The discriminator lives with training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import Colorizer

AB_SCALE = 110.0
DROPOUT_STAGES = 3


class Pix2Pix(Colorizer):
    """U-Net generator; ab has the size of L, whose sides must be multiples of `stride`, 2 to the power of `depth`.

    Args:
        width: channels of the first stage; 64 in the paper.
        depth: number of halvings; the paper has 8 at 256 px, which leaves one place at the bottom.
        noise: keep dropout on when serving.

    Raises:
        ValueError: `depth` is not between 4 and 8.
    """

    def __init__(self, width: int = 64, depth: int = 8, noise: bool = False) -> None:
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
            Up(
                channels[stage] * (1 if stage == depth - 1 else 2),
                channels[stage - 1],
                dropout=stage >= depth - DROPOUT_STAGES,
            )
            for stage in range(depth - 1, 0, -1)
        )
        self.last = nn.Conv2d(channels[0] * 2, 2, 3, padding=1)

    def forward(self, L: Tensor) -> Tensor:
        x = L / 50 - 1
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = torch.cat((up(x, self.training or self.noise), skips.pop()), dim=1)
        x = self.last(F.interpolate(F.relu(x), scale_factor=2.0, mode="nearest"))
        return torch.tanh(x) * AB_SCALE


class Down(nn.Module):
    """Leaky ReLU, a 4x4 convolution of stride 2, batch norm."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.first = inputs == 1
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x if self.first else F.leaky_relu(x, 0.2)))
        return x


class Up(nn.Module):
    """ReLU, nearest upsampling, a 3x3 convolution, batch norm, dropout."""

    def __init__(self, inputs: int, outputs: int, dropout: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.dropout = dropout

    def forward(self, x: Tensor, noise: bool) -> Tensor:
        x = self.norm(self.conv(F.interpolate(F.relu(x), scale_factor=2.0, mode="nearest")))
        return F.dropout(x, 0.5, training=noise) if self.dropout else x
