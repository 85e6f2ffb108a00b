"""Paper 000's colorizer, after Iizuka, Simo-Serra, Ishikawa 2016, "Let there be Color!", table 1 and figure 2.

Six low-level layers with strides instead of pooling; two mid-level layers; global features out of four layers and three dense ones;
a fusion layer that joins the global vector into every place; a colour decoder with nearest upsampling and a sigmoid. Paper 000 has
three builds: *basic* (section 4.1), *dropout* (4.3) and *residual* (4.4, dropout kept). Where it is silent: dropout is 0.5 after
the first two of the three dense layers and, of whole channels, 0.2 after the convolutions of mid and global level; a shortcut goes
around every layer that keeps its shape, so that the earlier output is "simply summed": one at mid level, two at global level, one
in the decoder. Naming branches off the second dense layer, as in Iizuka's figure 2. The global features read the picture at the
size of the training, whatever its own is (Iizuka, section 3.2), because dense layers want one size.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.base import Regressor

Build = Literal["basic", "dropout", "residual"]

LOW = ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))  # (channels out, stride)
MID = ((512, 1), (256, 1))
GLOBAL = ((512, 2), (512, 1), (512, 2), (512, 1))
DENSE = 512  # features that the naming branch reads: those of the dense layer before the last


class Layer(nn.Module):
    """A 3 x 3 convolution, batch norm and ReLU; in the residual build with a shortcut where the shape stays."""

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
    found: list[nn.Module] = []
    for channels, stride in plan:
        found.append(Layer(inputs, channels, stride, build == "residual"))
        found += [nn.Dropout2d(dropout)] if dropout and build != "basic" else []
        inputs = channels
    return nn.Sequential(*found)


class GlobalFeatures(nn.Module):
    """From low-level features of pictures of side `size` to the 512 that naming reads, and on to the 256 that are fused."""

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


class Iizuka(Regressor):
    """ab has half of the sides of L, which must be multiples of 8.

    Args:
        size: side of the training pictures, a multiple of 32: 128 or 256 in paper 000.
        build: basic, dropout or residual.
        fused: with global features and fusion, as when colour and names are learned together; without, as for colour alone.

    Raises:
        ValueError: there is no such build, or `size` is not a multiple of 32.
    """

    stride = 8
    ab_scale, ab_offset = 255.0, 128 / 255  # ab in [0, 1], as a sigmoid gives it

    def __init__(self, size: int = 128, build: Build = "basic", fused: bool = True) -> None:
        super().__init__()
        if build not in get_args(Build):
            raise ValueError(f"build is {build!r}: give one of {', '.join(get_args(Build))}.")
        if size % 32 or size <= 0:
            raise ValueError(f"size is {size}: give a multiple of 32.")
        self.size = size
        self.low = layers(1, LOW, build)
        self.mid = layers(512, MID, build, 0.2)
        self.whole = GlobalFeatures(size, build) if fused else None
        self.fusion = nn.Conv2d(512, 256, 1) if fused else None
        self.colour = nn.Sequential(
            layers(256, ((128, 1),), build), nn.Upsample(scale_factor=2), layers(128, ((64, 1), (64, 1)), build),
            nn.Upsample(scale_factor=2), layers(64, ((32, 1),), build), nn.Conv2d(32, 2, 3, padding=1),
        )  # fmt: skip

    def predict(self, L: Tensor) -> Tensor:
        return self.predict_and_name(L)[0]

    def predict_and_name(self, L: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ab on the network's scale, and the features `(n,512)` that naming reads, if there are any."""
        low = self.low(L / 100)
        mid = self.mid(low)
        if self.whole is None or self.fusion is None:
            return self.colour(mid).float().sigmoid(), None
        whole = whole_picture(L, self.size)
        features = self.whole(low if whole is L else self.low(whole / 100))
        vector = self.whole.last(features)[:, :, None, None].expand(-1, -1, *mid.shape[-2:])
        fused = F.relu(self.fusion(torch.cat((mid, vector), dim=1)))
        return self.colour(fused).float().sigmoid(), features


def whole_picture(L: Tensor, size: int) -> Tensor:
    """Lightness at the side that the global features read: itself where it has that already."""
    if L.shape[-2:] == (size, size):
        return L
    return F.interpolate(L, (size, size), mode="bilinear", antialias=True, align_corners=False)


class Namer(nn.Module):
    """The classification branch: a hidden layer of 256 and one output a class, on the 512 global features."""

    def __init__(self, classes: int, build: Build) -> None:
        super().__init__()
        dropout = 0.0 if build == "basic" else 0.5
        self.layers = nn.Sequential(
            nn.Linear(DENSE, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, classes)
        )

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(features))
