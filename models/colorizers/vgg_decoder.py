"""Paper 001's colorizer: the decoder of its table 2 behind a frozen VGG-16 that is trimmed at its last pooling layer.

Hultgren, Kaya, Ekman; sections 3.1 to 3.6. ReLU between the layers, tanh at the end, ab divided by 128. Where the paper is silent:
kernels of 3 x 3 and nearest upsampling (the defaults of Keras), dropout 0.5 after every layer but the last. What differs: the trunk
reads luma on all three channels, normalized as its ImageNet weights expect, where the paper copies L.
"""

from typing import Literal, cast, get_args

from torch import Tensor, nn

from models.colorizers.base import RegressionColorizer, TapColorizer
from models.vgg import STRIDE, Taps, VggTrunk

Regularization = Literal["plain", "batch_norm", "dropout"]

LAYERS: tuple[tuple[int, bool], ...] = (
    # (channels out, upsampling before it), in the table's order
    (256, False), (128, False), (64, True), (32, True), (16, True), (2, True),
)  # fmt: skip


class VggDecoder(TapColorizer, RegressionColorizer):
    """ab has the size of L: 7 x 7 features at 224 px become 224 x 224.

    Args:
        trunk: the frozen trunk, of which only the deepest tap is read.
        regularization: *plain*; *batch_norm* before each convolution (section 4.2); *dropout* after each (section 4.3).

    Raises:
        ValueError: `regularization` is unknown.
    """

    stride = STRIDE

    def __init__(self, trunk: VggTrunk, regularization: Regularization = "plain") -> None:
        super().__init__(trunk)
        if regularization not in get_args(Regularization):
            raise ValueError(f"regularization is {regularization!r}: give one of {', '.join(get_args(Regularization))}.")
        layers: list[nn.Module] = []
        width = trunk.channels[STRIDE]
        for channels, doubled in LAYERS:
            last = channels == 2
            layers += [nn.Upsample(scale_factor=2)] if doubled else []
            layers += [nn.BatchNorm2d(width)] if regularization == "batch_norm" else []
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.Tanh() if last else nn.ReLU()]
            layers += [nn.Dropout(0.5)] if regularization == "dropout" and not last else []
            width = channels
        self.layers = nn.Sequential(*layers, nn.Upsample(scale_factor=2))

    def predict_from_taps(self, taps: Taps, L: Tensor) -> Tensor:
        return cast(Tensor, self.layers(taps[STRIDE]))
