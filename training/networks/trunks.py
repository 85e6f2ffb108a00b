"""Pretrained trunks: with ImageNet weights of torchvision, those of the embedded bundle, or those of a file."""

from pathlib import Path

from torch import Tensor

from models.bundle import read_weights
from models.bundle_header import EVERYDAY
from models.errors import CheckpointError
from models.manifest import read_manifest
from models.vgg import TRUNKS, VggTrunk
from training.config.section import RecipeError
from training.networks.imagenet import imagenet_weights

EVERYDAY_TRUNK = "deep"  # the network of the embedded bundle's trunk


def frozen_trunk(network: str, weights: str) -> VggTrunk:
    """A trunk that is not trained: no gradients, and batch norm uses its running statistics.

    Args:
        network: a key of `TRUNKS`.
        weights: *imagenet*, *everyday* (only for `deep`), or a file with torchvision's weights of the network.

    Raises:
        RecipeError: there is no such trunk, or the weights are those of another one.
        CheckpointError: the weights cannot be loaded.
    """
    if network not in TRUNKS:
        raise RecipeError(f"there is no trunk {network!r}: give one of {', '.join(TRUNKS)}.")
    trunk = VggTrunk(network)
    trunk.load_state_dict(trunk_weights(network, weights))
    return trunk.eval().requires_grad_(False)


def trunk_weights(network: str, weights: str) -> dict[str, Tensor]:
    """The tensors of a trunk; arguments and errors as for `frozen_trunk`."""
    if (network == EVERYDAY_TRUNK) != (weights == "everyday"):
        raise RecipeError(
            f"the trunk {network!r} has no weights {weights!r}: give trunk {EVERYDAY_TRUNK} with weights everyday, "
            "or vgg16 or vgg19 with weights imagenet or a file of torchvision's."
        )
    if weights == "everyday":
        return everyday_trunk()
    state = imagenet_weights(network, None if weights == "imagenet" else Path(weights))
    return {name: tensor for name, tensor in state.items() if name.startswith("features.")}


def everyday_trunk() -> dict[str, Tensor]:
    """The tensors of the embedded bundle's trunk."""
    manifest, _ = read_manifest(EVERYDAY)
    for name, card in manifest.trunks.items():
        if card.arguments == {"network": EVERYDAY_TRUNK}:
            return read_weights(EVERYDAY / card.file, card, f"trunk {name}")
    raise CheckpointError(f"the embedded bundle has no trunk {EVERYDAY_TRUNK!r}.")
