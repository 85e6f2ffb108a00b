"""Paper 003's colorizer (its figure 3), one per category: strides instead of pooling, three upsampling layers, 3.9 M parameters.

The paper prints shapes and counts but no activations. ReLU between the layers and tanh at the end are those of the network that the
paper builds on (its reference 4); ab is divided by 128 so that tanh covers its range.
"""

from typing import cast

from torch import Tensor, nn

from models.colorizers.base import RegressionColorizer

LAYERS: tuple[tuple[int, int], ...] = (
    # (channels out, stride), in the table's order
    (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (256, 1), (128, 1),
)  # fmt: skip


class StridedCnn(RegressionColorizer):
    """ab has the size of L, whose sides must be multiples of 8."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for channels, step in LAYERS:
            layers += [nn.Conv2d(width, channels, 3, stride=step, padding=1), nn.ReLU()]
            width = channels
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, padding=1), nn.ReLU()]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(32, 2, 3, padding=1), nn.Tanh(), nn.Upsample(scale_factor=2)]
        self.layers = nn.Sequential(*layers)

    def predict(self, L: Tensor) -> Tensor:
        return cast(Tensor, self.layers(L / 100))
