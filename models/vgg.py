"""VGG trunks with named taps: VGG-16 and VGG-19, whose tensors have the names of torchvision, and narrower ones.

Simonyan and Zisserman 2014. A trunk ends at its last feature map (paper 001 trims VGG-16 there) and serves both the router and the
colorizers. What differs: `compact` is narrow and has batch norm and a sixth stage, so that the receptive field of its deepest tap
covers a picture of 128 px; `deep` adds five convolutions to it and is wider at its end, where that costs little.
"""

import torch
from torch import Tensor, nn

from models.lab import lightness_to_luma
from models.network_input import TRUNK_STRIDE

Taps = dict[int, Tensor]  # stride -> features (n, channels, h / stride, w / stride)

STRIDE = TRUNK_STRIDE

TRUNKS: dict[str, tuple[list[str | int], bool]] = {
    # name: (channels of the convolutions, and M for a maximum over 2 x 2 pixels; batch norm)
    "compact": ([32, "M", 64, "M", 128, 128, "M", 256, 256, "M", 320, 320, "M", 384, 384], True),
    "deep": ([32, "M", 64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[384] * 4, "M", 448, 448], True),
    "vgg16": ([64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"], False),
    "vgg19": ([64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"], False),
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VggTrunk(nn.Module):
    """The convolutional part of a VGG network, with the last feature map at each stride as a tap.

    Args:
        network: a key of `TRUNKS`.

    Raises:
        ValueError: `network` is not one of `TRUNKS`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str = "compact") -> None:
        super().__init__()
        if network not in TRUNKS:
            raise ValueError(f"there is no trunk {network!r}: give one of {', '.join(TRUNKS)}.")
        configuration, batch_norm = TRUNKS[network]
        self.features = _layers(configuration, batch_norm)
        self.channels = _channels(configuration)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, L: Tensor) -> Taps:
        """The taps, by their strides 1, 2, ... 32, of lightness `(n,1,h,w)` in [0, 100] whose sides are multiples of 32."""
        x = (lightness_to_luma(L) - self.mean) / self.std
        taps: Taps = {}
        stride = 1
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                taps[stride] = x
                stride *= 2
            x = layer(x)
        taps[stride] = x
        return taps

    def stages(self, count: int) -> nn.Sequential:
        """The layers of the first `count` stages, down to the stride `2 ** count`."""
        pools = [index for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        return nn.Sequential(*list(self.features)[: pools[count - 1] + 1 if count else 0])


def _layers(configuration: list[str | int], batch_norm: bool) -> nn.Sequential:
    """The layers in the order of torchvision's, which takes a second to import."""
    layers: list[nn.Module] = []
    width = 3
    for item in configuration:
        if isinstance(item, int):
            layers.append(nn.Conv2d(width, item, 3, padding=1))
            layers += [nn.BatchNorm2d(item)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            width = item
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _channels(configuration: list[str | int]) -> dict[int, int]:
    channels, stride, width = {}, 1, 3
    for item in configuration:
        if isinstance(item, int):
            width = item
        else:
            channels[stride] = width
            stride *= 2
    return {**channels, stride: width}
