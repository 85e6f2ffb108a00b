"""Paper 001's colorizer: its table 2's decoder behind a VGG-16 that is trimmed at its last pool and frozen.

Hultgren, Kaya, Ekman; sections 3.1 to 3.6. ReLU between the layers, tanh at the end, ab divided by 128. Where the paper is silent:
kernels of 3 x 3, nearest upsampling (both Keras' usual), dropout 0.5 after every layer but the last. What differs: the trunk sees
luma on all three channels, normalised as its ImageNet weights want it, where the paper copies L.
"""

from typing import Literal, cast, get_args

from torch import Tensor, nn

from models.colorizers.base import TapRegressor
from models.vgg import STRIDE, Taps, VggTrunk

Regularisation = Literal["plain", "batch_norm", "dropout"]

LAYERS: tuple[tuple[int, bool], ...] = (
    # (channels out, upsampling before it), in the table's order
    (256, False), (128, False), (64, True), (32, True), (16, True), (2, True),
)  # fmt: skip


class VggDecoder(TapRegressor):
    """ab has the size of L: 7 x 7 features at 224 px become 224 x 224.

    Args:
        trunk: the frozen trunk; only its deepest tap is read.
        regularisation: *batch_norm* normalises before each convolution (section 4.2), *dropout* drops after each (section 4.3).

    Raises:
        ValueError: there is no such regularisation.
    """

    stride = STRIDE

    def __init__(self, trunk: VggTrunk, regularisation: Regularisation = "plain") -> None:
        super().__init__(trunk)
        if regularisation not in get_args(Regularisation):
            raise ValueError(f"regularisation is {regularisation!r}: give one of {', '.join(get_args(Regularisation))}.")
        layers: list[nn.Module] = []
        width = trunk.channels[STRIDE]
        for channels, doubled in LAYERS:
            last = channels == 2
            layers += [nn.Upsample(scale_factor=2)] if doubled else []
            layers += [nn.BatchNorm2d(width)] if regularisation == "batch_norm" else []
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.Tanh() if last else nn.ReLU()]
            layers += [nn.Dropout(0.5)] if regularisation == "dropout" and not last else []
            width = channels
        self.layers = nn.Sequential(*layers, nn.Upsample(scale_factor=2))

    def read(self, taps: Taps, L: Tensor) -> Tensor:
        return cast(Tensor, self.layers(taps[STRIDE]))
