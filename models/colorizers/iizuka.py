"""Paper 000's colorizer, after Iizuka, Simo-Serra, Ishikawa 2016, "Let there be Color!", table 1 and figure 2.

Six low-level layers with strides instead of pooling; two mid-level layers; global features from four convolutional and three dense
layers; a fusion layer that adds the global vector to every position; a color decoder with nearest upsampling and a sigmoid. Paper
000 has three variants: *basic* (section 4.1), *dropout* (4.3) and *residual* (4.4, with dropout). Where it is silent: dropout is
0.5 after the first two dense layers and 0.2, of whole channels, after the convolutions of mid and global level; every layer that
keeps its shape has a shortcut, so that the earlier output is "simply summed": one at mid level, two at global level, one in the
decoder. The classification branch reads the second dense layer, as in Iizuka's figure 2. The global features always read the
picture at the training size (Iizuka, section 3.2), because dense layers need a fixed size.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import RegressionColorizer

Build = Literal["basic", "dropout", "residual"]

LOW = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))  # (channels out, stride)
MID = ((512, 1), (256, 1))
GLOBAL = ((512, 2), (512, 1), (512, 2), (512, 1))
DENSE = 512  # width of the second dense layer, which the classification branch reads


class Layer(nn.Module):
    """A 3 x 3 convolution, batch norm and ReLU; in the residual variant with a shortcut where the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = residual and inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return F.relu(y + x) if self.shortcut else F.relu(y)


def layers(inputs: int, plan: tuple[tuple[int, int], ...], build: Build, dropout: float = 0.0) -> nn.Sequential:
    """The layers of a plan of (channels out, stride)."""
    modules: list[nn.Module] = []
    for channels, stride in plan:
        modules.append(Layer(inputs, channels, stride, build == "residual"))
        modules += [nn.Dropout2d(dropout)] if dropout and build != "basic" else []
        inputs = channels
    return nn.Sequential(*modules)


class GlobalFeatures(nn.Module):
    """From low-level features to the 512 that the classifier reads; `last` reduces them to the 256 that are fused."""

    def __init__(self, size: int, build: Build) -> None:
        super().__init__()
        self.convolutions = layers(512, GLOBAL, build, 0.2)
        dropout = 0.0 if build == "basic" else 0.5
        self.dense = nn.Sequential(
            nn.Linear(512 * (size // 32) ** 2, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(1024, DENSE), nn.BatchNorm1d(DENSE), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Linear(DENSE, 256), nn.BatchNorm1d(256), nn.ReLU())

    def forward(self, low: Tensor) -> Tensor:
        return cast(Tensor, self.dense(self.convolutions(low).flatten(1)))


class Iizuka(RegressionColorizer):
    """ab has half of the sides of L, which must be multiples of 8.

    Args:
        size: side of the training pictures in pixels, a multiple of 32: 128 or 256 in paper 000.
        build: the variant: basic, dropout or residual.
        fused: with global features and fusion, as in the joint training; false for the network that only learns color.

    Raises:
        ValueError: `build` is unknown, or `size` is not a multiple of 32.
    """

    stride = 8
    ab_scale, ab_offset = 255.0, 128 / 255  # ab in [0, 1], the range of a sigmoid

    def __init__(self, size: int = 128, build: Build = "basic", fused: bool = True) -> None:
        super().__init__()
        if build not in get_args(Build):
            raise ValueError(f"build is {build!r}: give one of {', '.join(get_args(Build))}.")
        check_size(size)
        self.size = size
        self.low = layers(1, LOW, build)
        self.mid = layers(512, MID, build, 0.2)
        self.whole = GlobalFeatures(size, build) if fused else None
        self.fusion = nn.Conv2d(512, 256, 1) if fused else None
        self.decoder = nn.Sequential(
            layers(256, ((128, 1),), build), nn.Upsample(scale_factor=2), layers(128, ((64, 1), (64, 1)), build),
            nn.Upsample(scale_factor=2), layers(64, ((32, 1),), build), nn.Conv2d(32, 2, 3, padding=1),
        )  # fmt: skip

    def predict(self, L: Tensor) -> Tensor:
        return self.predict_with_features(L)[0]

    def predict_with_features(self, L: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ab on the scale of the network, and the features `(n,512)` that the classifier reads; None without fusion."""
        low = self.low(L / 100)
        mid = self.mid(low)
        if self.whole is None or self.fusion is None:
            return self.decoder(mid).float().sigmoid(), None
        resized = resize_to_square(L, self.size)
        features = self.whole(low if resized is L else self.low(resized / 100))
        vector = self.whole.last(features)[:, :, None, None].expand(-1, -1, *mid.shape[-2:])
        fused = F.relu(self.fusion(torch.cat((mid, vector), dim=1)))
        return self.decoder(fused).float().sigmoid(), features


def check_size(size: int) -> None:
    """Raise a ValueError unless global features can be computed at the side `size`."""
    if size % 32 or size <= 0:
        raise ValueError(f"size is {size}: give a multiple of 32.")


def resize_to_square(L: Tensor, size: int) -> Tensor:
    """Lightness at the square size that the global features read; the same tensor if it has that size already."""
    if L.shape[-2:] == (size, size):
        return L
    return F.interpolate(L, (size, size), mode="bilinear", antialias=True, align_corners=False)


class ClassificationBranch(nn.Module):
    """Logits `(n,classes)` of the 512 global features, by a hidden layer of 256."""

    def __init__(self, classes: int, build: Build) -> None:
        super().__init__()
        dropout = 0.0 if build == "basic" else 0.5
        self.layers = nn.Sequential(
            nn.Linear(DENSE, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, classes)
        )

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(features))
