"""ConvNeXt as an encoder: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie 2022, "A ConvNet for the 2020s", section 2.

What differs: there is no classifier, and the output of each of the four stages is normalized.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = {"tiny": ((3, 3, 9, 3), (96, 192, 384, 768)), "large": ((3, 3, 27, 3), (192, 384, 768, 1536))}  # blocks and channels

_EPSILON = 1e-6


class ConvNext(nn.Module):
    """Features `(n,c,h/4,w/4)` to `(n,8c,h/32,w/32)` of pictures `(n,3,h,w)` whose sides are multiples of 32.

    Args:
        depths: blocks of each stage.
        channels: of each stage.
    """

    def __init__(self, depths: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList([nn.Sequential(nn.Conv2d(3, channels[0], 4, stride=4), ChannelNorm(channels[0]))])
        for inputs, outputs in pairwise(channels):
            self.reduce.append(nn.Sequential(ChannelNorm(inputs), nn.Conv2d(inputs, outputs, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for depth, width in zip(depths, channels, strict=True)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for reduce, stage, norm in zip(self.reduce, self.stages, self.norms, strict=True):
            x = stage(reduce(x))
            features.append(norm(x))
        return features


class Block(nn.Module):
    """A depthwise convolution, and two layers for each position, as a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.expand = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.shrink(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `(n,c,h,w)`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed
