"""The networks that name pictures: known ones with their top removed, and batch norm, dropout and one dense layer in its place.

Paper 003, section IV.B, with VGG-19, ResNet-50 and Inception; beside them the branches of papers 000 and 002, the embedded
bundle's trunk, and a small VGG for 32 px. Where no weights are given, the VGGs have batch norm: without it they hardly begin to
learn.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.colorizers import iizuka
from models.colorizers.zhang import Encoder
from models.lab import lab_to_srgb, lightness_to_luma
from models.torchvision_compat import inception, resnet, vgg
from models.vgg import IMAGENET_MEAN, IMAGENET_STD, VggTrunk
from training.config import Naming, RecipeError
from training.imagenet import imagenet_weights
from training.learner import part
from training.trunks import everyday_trunk

# the backbones that are not torchvision's: they read gray, and these are the weights that there are for them
OWN_WEIGHTS: dict[str, tuple[str, ...]] = {"compact": ("everyday",), "zhang": (), "iizuka": ()}


class Namer(nn.Module):
    """A backbone, then batch norm, dropout, dense; softmax is the reader's.

    Args:
        features: a network from pictures to `(n,width)`.
        width: of the features.
        classes: number of names.
        dropout: between 0 and 1.
        frozen: the backbone does not learn: no gradients, and batch norm by the statistics that it came with.
    """

    def __init__(self, features: nn.Module, width: int, classes: int, dropout: float, frozen: bool) -> None:
        super().__init__()
        self.features = features.requires_grad_(not frozen)
        self.top = nn.Sequential(nn.BatchNorm1d(width), nn.Dropout(dropout), nn.Linear(width, classes))
        self.frozen = frozen

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        """Logits `(n,classes)` of lightness `(n,1,h,w)` and, if the backbone reads color, ab `(n,2,h,w)`."""
        logits: Tensor = self.top(self.features(L, ab))
        return logits

    def train(self, mode: bool = True) -> "Namer":
        super().train(mode)
        if self.frozen:
            self.features.eval()
        return self


class OnRgb(nn.Module):
    """A torchvision network on RGB, normalized as ImageNet's weights want it; gray comes as luma on all three channels."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, color: bool) -> None:
        super().__init__()
        self.network, self.color = network, color
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        rgb = lab_to_srgb(torch.cat((L, ab), dim=1)) if self.color else lightness_to_luma(L).expand(-1, 3, -1, -1)
        x: Tensor = self.network((rgb - self.mean) / self.std)
        return x


class OnTrunk(nn.Module):
    """The mean of a trunk's deepest tap."""

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        return self.trunk(L)[32].mean(dim=(2, 3))


class OnZhang(nn.Module):
    """The mean of the features of paper 002's first five blocks: what its transfer learning hands over."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(width)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        return self.encoder(L).mean(dim=(2, 3))


class OnIizuka(nn.Module):
    """Low-level and global features of paper 000: what its classification model has. Pictures are brought to the side `size`."""

    def __init__(self, size: int = 128, build: iizuka.Build = "basic") -> None:
        super().__init__()
        self.size = size
        self.low = iizuka.layers(1, iizuka.LOW, build)
        self.whole = iizuka.GlobalFeatures(size, build)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        x: Tensor = self.whole(self.low(iizuka.whole_picture(L, self.size) / 100))
        return x


def build_namer(options: Naming, classes: int, pretrained: bool = True) -> nn.Module:
    """The network of a recipe's task, with its weights unless `pretrained` is false.

    Raises:
        RecipeError: the arguments or the weights cannot be followed.
        CheckpointError: the weights cannot be had.
    """
    if options.frozen and not options.weights:
        raise RecipeError(
            "task.frozen is true and there are no task.weights: give weights, or let it learn with task.frozen=false."
        )
    color, weights = options.reads == "color", options.weights if pretrained else ""
    if color and options.backbone in OWN_WEIGHTS:
        raise RecipeError(f"task.reads is 'color', and the backbone {options.backbone} reads gray: give 'gray'.")
    if options.weights and options.weights not in OWN_WEIGHTS.get(options.backbone, (options.weights,)):
        known = ", ".join(repr(name) for name in ("", *OWN_WEIGHTS[options.backbone]))
        raise RecipeError(f"task.weights is {options.weights!r}: for the backbone {options.backbone} give {known}.")
    try:
        if options.backbone == "iizuka":
            return iizuka_namer(OnIizuka(**options.arguments), classes, options)
        if options.backbone == "zhang":
            features: nn.Module = OnZhang(**options.arguments)
            width = features.encoder.channels
        elif options.backbone == "compact":
            trunk = VggTrunk("compact", **options.arguments)
            features, width = OnTrunk(trunk), trunk.channels[32]
            if weights:
                trunk.load_state_dict(everyday_trunk())
        else:
            network, width = BACKBONES[options.backbone](weights, not options.weights)
            features = OnRgb(network, color)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"task.arguments of the backbone {options.backbone} cannot be followed: {error}") from error
    return Namer(features, width, classes, options.dropout, options.frozen)


def iizuka_namer(features: OnIizuka, classes: int, options: Naming) -> nn.Module:
    """Paper 000's classification model: its own branch instead of the top of paper 003."""
    namer = Namer(features, iizuka.DENSE, classes, options.dropout, options.frozen)
    namer.top = iizuka.Namer(classes, options.arguments.get("build", "basic")).layers
    return namer


def _vgg(configuration: str, name: str) -> "Backbone":
    def build(weights: str, fresh: bool) -> tuple[nn.Module, int]:
        layers = vgg.make_layers(vgg.cfgs[configuration], batch_norm=fresh)
        if weights:
            layers.load_state_dict(part(_state(name, weights), "features."))
        return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512

    return build


def _resnet50(weights: str, fresh: bool) -> tuple[nn.Module, int]:
    network = resnet.resnet50()
    if weights:
        network.load_state_dict(_state("resnet50", weights))
    network.fc = nn.Identity()
    return network, 2048


def _inception(weights: str, fresh: bool) -> tuple[nn.Module, int]:
    # ImageNet's weights came from another framework, whose normalization the network then applies by itself
    network = inception.inception_v3(aux_logits=False, transform_input=not fresh, init_weights=False)
    if weights:
        state = _state("inception", weights)
        network.load_state_dict({key: tensor for key, tensor in state.items() if not key.startswith("AuxLogits.")})
    network.fc = network.dropout = nn.Identity()
    return network, 2048


def _state(name: str, weights: str) -> dict[str, Tensor]:
    return imagenet_weights(name, None if weights == "imagenet" else Path(weights))


Backbone = Callable[[str, bool], tuple[nn.Module, int]]  # weights, and whether it learns from nothing -> network, its width

BACKBONES: dict[str, Backbone] = {
    "vgg19": _vgg("E", "vgg19"),
    "resnet50": _resnet50,
    "inception": _inception,
    "vgg_small": _vgg("A", "vgg11"),
}
