"""Kang, Yang, Ouyang, Ren, Li, Xie 2023, "DDColor: Towards Photo-Realistic Image Colorization via Dual Decoders", section 3.

A ConvNeXt encoder, a decoder of pixels that doubles the sides four times, and a decoder of colors: queries that attend to the
features of three resolutions in turn, and whose products with the pixels are maps. What differs: spectral norms are folded into the
weights (`models.published.tensors`), and ab is limited to 110, because the network is not bounded.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import RegressionColorizer
from models.colorizers.convnext import SIZES, ConvNext
from models.lab import lightness_to_luma
from models.vgg import IMAGENET_MEAN, IMAGENET_STD

QUERIES, ROUNDS, HEADS = 100, 9, 8
_MOST = 110.0  # ab units


class DDColor(RegressionColorizer):
    """Predicts ab at the sides of L, which must be multiples of 32.

    Args:
        size: of the encoder, `tiny` or `large`.
        width: channels of the pixel decoder; 512 as published.

    Raises:
        ValueError: there is no encoder of that size.
    """

    stride = 32
    ab_scale = 1.0

    mean: Tensor
    std: Tensor

    def __init__(self, size: str = "tiny", width: int = 512) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"there is no encoder {size!r}: give one of {', '.join(SIZES)}")
        depths, channels = SIZES[size]
        self.encoder = ConvNext(depths, channels)
        self.pixels = PixelDecoder(channels, width)
        self.colors = ColorDecoder((width, width, width // 2), width // 2)
        self.refine = nn.Conv2d(QUERIES + 3, 2, 1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def predict(self, L: Tensor) -> Tensor:
        rgb = (lightness_to_luma(L) - self.mean) / self.std
        levels, pixels = self.pixels(self.encoder(rgb))
        maps = torch.einsum("nqc,nchw->nqhw", self.colors(levels), pixels)
        return cast(Tensor, self.refine(torch.cat((maps, rgb), dim=1)))

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        return super().decode(predicted, L).clamp(-_MOST, _MOST)


class PixelDecoder(nn.Module):
    """Features of three resolutions, and those of the sides of the picture, of the features of an encoder."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.up = nn.ModuleList()
        inputs = channels[-1]
        for skipped, outputs in zip(channels[-2::-1], (width, width, width // 2), strict=True):
            self.up.append(_Up(inputs, skipped, outputs))
            inputs = outputs
        self.last = _Shuffle(inputs, inputs, 4, nn.Identity())

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        x, levels = features[-1], []
        for up, skipped in zip(self.up, features[-2::-1], strict=True):
            x = up(x, skipped)
            levels.append(x)
        return levels, self.last(x)


class _Up(nn.Module):
    """Doubles the sides and joins the features of the same resolution."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.enlarge = _Shuffle(inputs, outputs, 2, nn.BatchNorm2d(4 * outputs))
        self.norm = nn.BatchNorm2d(skipped)
        self.convolve = nn.Conv2d(outputs + skipped, outputs, 3, padding=1, bias=False)
        self.after = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        x = torch.cat((self.enlarge(x), self.norm(skipped)), dim=1).relu()
        output: Tensor = self.after(self.convolve(x).relu())
        return output


class _Shuffle(nn.Module):
    """Multiplies the sides by moving channels to positions, and blurs their grid away."""

    def __init__(self, inputs: int, outputs: int, factor: int, norm: nn.Module) -> None:
        super().__init__()
        self.factor, self.norm = factor, norm
        self.convolve = nn.Conv2d(inputs, outputs * factor**2, 1, bias=isinstance(norm, nn.Identity))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.norm(self.convolve(x)).relu(), self.factor)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class ColorDecoder(nn.Module):
    """A vector `(n,queries,c)` for each query, of features of three resolutions."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(QUERIES, width))
        self.query_positions = nn.Parameter(torch.randn(QUERIES, width))
        self.levels = nn.Parameter(torch.randn(len(channels), width))
        self.project = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.rounds = nn.ModuleList(_Round(width) for _ in range(ROUNDS))
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )  # fmt: skip

    def forward(self, features: list[Tensor]) -> Tensor:
        memories = []
        for project, level, x in zip(self.project, self.levels, features, strict=True):
            memory = project(x).flatten(2).transpose(1, 2) + level
            memories.append((memory, memory + sine_positions(x, memory.shape[2]).flatten(2).transpose(1, 2)))
        queries = self.queries.expand(len(features[0]), -1, -1)
        for index, step in enumerate(self.rounds):
            queries = step(queries, self.query_positions, *memories[index % len(memories)])
        output: Tensor = self.embed(self.norm(queries))
        return output


class _Round(nn.Module):
    """Queries attend to features, then to each other, and pass two layers; each is a residual, followed by a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.own = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.expand, self.shrink = nn.Linear(width, 8 * width), nn.Linear(8 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, queries: Tensor, positions: Tensor, values: Tensor, keys: Tensor) -> Tensor:
        queries = self.norms[0](queries + self.cross(queries + positions, keys, values, need_weights=False)[0])
        placed = queries + positions
        queries = self.norms[1](queries + self.own(placed, placed, queries, need_weights=False)[0])
        output: Tensor = self.norms[2](queries + self.shrink(self.expand(queries).relu()))
        return output


def sine_positions(x: Tensor, channels: int) -> Tensor:
    """Sines and cosines `(1,channels,h,w)` of the rows, then of the columns, of `(n,c,h,w)`, both scaled to (0, 2π].

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
    """
    each = channels // 2
    wavelengths = 10_000 ** (torch.arange(0, each, 2, device=x.device) / each)
    ones, encoded = torch.ones_like(x[:1, 0]), []
    for dim in (1, 2):
        position = ones.cumsum(dim)
        position = position / (position.amax(dim=dim, keepdim=True) + 1e-6) * 2 * torch.pi
        angles = position[..., None] / wavelengths
        encoded.append(torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(3))
    return torch.cat(encoded, dim=3).permute(0, 3, 1, 2)
