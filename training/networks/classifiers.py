"""Classifiers for training: known backbones with the top removed, and batch norm, dropout and one dense layer in its place.

Paper 003, section IV.B, with VGG-19, ResNet-50 and Inception; in addition the branches of papers 000 and 002, the trunk of the
embedded bundle, and a small VGG for 32 px. Without pretrained weights the VGGs have batch norm, because otherwise they hardly
learn.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.colorizers import iizuka
from models.colorizers.zhang import Encoder
from models.lab import lab_to_srgb, lightness_to_luma
from models.vgg import IMAGENET_MEAN, IMAGENET_STD, VggTrunk
from training.config.arguments import check_arguments
from training.config.section import RecipeError
from training.config.task_options import ClassificationOptions
from training.networks.imagenet import imagenet_weights
from training.networks.state_dicts import select_prefix
from training.networks.torchvision_compat import inception, resnet, vgg
from training.networks.trunks import EVERYDAY_TRUNK, everyday_trunk

# the weights that exist for backbones that are not torchvision's, which only read gray
OWN_WEIGHTS: dict[str, tuple[str, ...]] = {EVERYDAY_TRUNK: ("everyday",), "zhang": (), "iizuka": ()}


class Classifier(nn.Module):
    """A backbone, then batch norm, dropout and a dense layer. Returns logits.

    Args:
        features: a network from pictures to `(n,width)`.
        width: of the features.
        classes: number of classes.
        dropout: between 0 and 1.
        frozen: the backbone is not trained: no gradients, and batch norm uses its running statistics.
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

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.frozen:
            self.features.eval()
        return self


class RgbFeatures(nn.Module):
    """A torchvision network on RGB, normalized as its ImageNet weights expect; gray is luma on all three channels."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, reads_color: bool) -> None:
        super().__init__()
        self.network, self.reads_color = network, reads_color
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        rgb = lab_to_srgb(torch.cat((L, ab), dim=1)) if self.reads_color else lightness_to_luma(L).expand(-1, 3, -1, -1)
        x: Tensor = self.network((rgb - self.mean) / self.std)
        return x


class TrunkFeatures(nn.Module):
    """The mean of the deepest tap of a trunk."""

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        taps: dict[int, Tensor] = self.trunk(L)
        return taps[32].mean(dim=(2, 3))


class ZhangFeatures(nn.Module):
    """The mean of the features of paper 002's first five blocks, whose weights its transfer learning reuses."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(width)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        x: Tensor = self.encoder(L)
        return x.mean(dim=(2, 3))


class IizukaFeatures(nn.Module):
    """Low-level and global features of paper 000's classification model. Pictures are resized to the side `size`."""

    def __init__(self, size: int = 128, build: iizuka.Build = "basic") -> None:
        super().__init__()
        iizuka.check_size(size)
        self.size = size
        self.low = iizuka.layers(1, iizuka.LOW, build)
        self.whole = iizuka.GlobalFeatures(size, build)

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        x: Tensor = self.whole(self.low(iizuka.resize_to_square(L, self.size) / 100))
        return x


# the backbones that have arguments
OWN_FEATURES: dict[str, type[nn.Module]] = {"zhang": ZhangFeatures, "iizuka": IizukaFeatures}


def build_classifier(options: ClassificationOptions, classes: int, pretrained: bool = True) -> nn.Module:
    """The network of a recipe's task, with its pretrained weights unless `pretrained` is false.

    Raises:
        RecipeError: the options do not fit together.
        CheckpointError: the weights cannot be loaded.
    """
    _check(options)
    weights = options.weights if pretrained else ""
    try:
        features: nn.Module
        if options.backbone == "iizuka":
            return _iizuka_classifier(IizukaFeatures(**options.arguments), classes, options)
        if options.backbone == "zhang":
            zhang = ZhangFeatures(**options.arguments)
            features, width = zhang, zhang.encoder.channels
        elif options.backbone == EVERYDAY_TRUNK:
            trunk = VggTrunk(EVERYDAY_TRUNK)
            features, width = TrunkFeatures(trunk), trunk.channels[32]
            if weights:
                trunk.load_state_dict(everyday_trunk())
        else:
            network, width = BACKBONES[options.backbone](weights, not options.weights)
            features = RgbFeatures(network, options.input == "color")
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"task.arguments are not valid for the backbone {options.backbone}: {error}") from error
    return Classifier(features, width, classes, options.dropout, options.frozen)


def _check(options: ClassificationOptions) -> None:
    constructor = OWN_FEATURES.get(options.backbone, object)
    check_arguments(f"the backbone {options.backbone}", constructor, options.arguments)
    if options.frozen and not options.weights:
        raise RecipeError(
            "task.frozen is true and task.weights is empty: set task.weights, or train the backbone: task.frozen=false."
        )
    if options.input == "color" and options.backbone in OWN_WEIGHTS:
        raise RecipeError(f"task.input is 'color', and the backbone {options.backbone} reads gray: give 'gray'.")
    if options.weights and options.weights not in OWN_WEIGHTS.get(options.backbone, (options.weights,)):
        known = ", ".join(repr(name) for name in ("", *OWN_WEIGHTS[options.backbone]))
        raise RecipeError(f"task.weights is {options.weights!r}: for the backbone {options.backbone} give {known}.")


def _iizuka_classifier(features: IizukaFeatures, classes: int, options: ClassificationOptions) -> nn.Module:
    """Paper 000's classification model: its own branch instead of the top of paper 003."""
    classifier = Classifier(features, iizuka.DENSE, classes, options.dropout, options.frozen)
    classifier.top = iizuka.ClassificationBranch(classes, options.arguments.get("build", "basic")).layers
    return classifier


def _vgg(configuration: str, name: str) -> "Backbone":
    def build(weights: str, from_scratch: bool) -> tuple[nn.Module, int]:
        layers = vgg.make_layers(vgg.cfgs[configuration], batch_norm=from_scratch)
        if weights:
            layers.load_state_dict(select_prefix(_state(name, weights), "features."))
        return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512

    return build


def _resnet50(weights: str, from_scratch: bool) -> tuple[nn.Module, int]:
    network = resnet.resnet50()
    if weights:
        network.load_state_dict(_state("resnet50", weights))
    network.fc = nn.Identity()
    return network, 2048


def _inception(weights: str, from_scratch: bool) -> tuple[nn.Module, int]:
    # the ImageNet weights come from another framework, whose normalization the network then applies itself
    network = inception.inception_v3(aux_logits=False, transform_input=not from_scratch, init_weights=False)
    if weights:
        state = _state("inception", weights)
        network.load_state_dict({key: tensor for key, tensor in state.items() if not key.startswith("AuxLogits.")})
    network.fc = network.dropout = nn.Identity()
    return network, 2048


def _state(name: str, weights: str) -> dict[str, Tensor]:
    return imagenet_weights(name, None if weights == "imagenet" else Path(weights))


Backbone = Callable[[str, bool], tuple[nn.Module, int]]  # weights, and whether it is trained from scratch -> network, its width

BACKBONES: dict[str, Backbone] = {
    "vgg19": _vgg("E", "vgg19"),
    "resnet50": _resnet50,
    "inception": _inception,
    "vgg_small": _vgg("A", "vgg11"),
}
