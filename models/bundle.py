"""Loading and verifying a bundle: a folder of safetensors files with a manifest. Every file must match its sha256."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from models.bundle_header import EVERYDAY, BundleHeader, card_errors, read_file, read_header
from models.classifiers import IMAGENET_CHANNELS, Classifier, HeadClassifier, ImageNetClassifier
from models.colorizers import FAMILIES, Colorizer, TapColorizer
from models.errors import BundleError, CheckpointError
from models.expert_cache import ExpertCache
from models.manifest import Card, ExpertCard, Manifest, RouterCard, TrunkCard, read_manifest
from models.vgg import STRIDE, VggTrunk

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Bundle(BundleHeader):
    """A bundle with its networks in torch, in evaluation mode.

    With a memory budget, looking up an expert may load its file again, and raise a CheckpointError.
    """

    trunks: Mapping[str, VggTrunk]
    classifier: Classifier
    experts: Mapping[str, Colorizer]


def load_bundle(folder: Path = EVERYDAY, expert_bytes: int | None = None) -> Bundle:
    """Load the bundle in `folder`, and check every file.

    Args:
        folder: of the bundle; a symbolic link is resolved once, so that it can be changed afterwards.
        expert_bytes: memory budget for experts in bytes, of which the least recently used are evicted; None keeps all.

    Raises:
        BundleError: there is no manifest, or it is not valid.
        CheckpointError: a file is missing, or does not match the sha256 or the network of its card.
    """
    folder = folder.resolve()
    header = read_header(folder)
    manifest = header.manifest
    trunks = {name: _trunk(name, card, folder) for name, card in manifest.trunks.items()}
    classifier = _classifier(manifest.router, folder, trunks)
    experts = ExpertCache(
        manifest.experts, lambda name: _expert(name, manifest.experts, folder, trunks), network_bytes, expert_bytes
    )
    _check_sizes(manifest, experts)
    return Bundle(manifest, header.digest, header.router, trunks, classifier, experts)


def verify_bundle(folder: Path = EVERYDAY) -> list[str]:
    """The problems of a bundle, a sentence each; an empty list if it can be served.

    Raises:
        BundleError: there is no manifest, or it is not valid.
    """
    manifest, _ = read_manifest(folder)
    problems = []
    unique: dict[tuple[str, str], tuple[str, Card]] = {}
    for name, card in manifest.cards().items():
        unique.setdefault((card.file, card.sha256), (name, card))  # experts may share a file
    for name, card in unique.values():
        try:
            read_weights(folder / card.file, card, name)
        except CheckpointError as error:
            problems.append(str(error))
    if not problems:
        try:
            load_bundle(folder)
        except BundleError as error:
            problems.append(str(error))
    return problems


def read_weights(path: Path, card: Card, what: str) -> dict[str, Tensor]:
    """The tensors of the file of a card, as float32; of an ONNX file its bytes, as the tensor `model`.

    Args:
        path: of the file.
        card: its size and sha256.
        what: the name of the checkpoint for error messages.

    Raises:
        CheckpointError: the file is missing or altered, or is not a safetensors file.
    """
    content = read_file(path, card, what)
    if path.suffix == ".onnx":
        return {"model": torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"the file of {what}, {path}, is not a safetensors file ({error}): restore the bundle.") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _trunk(name: str, card: TrunkCard, folder: Path) -> VggTrunk:
    with card_errors(f"trunk {name}"):
        trunk = VggTrunk(**card.arguments)
    return _with_weights(trunk, f"trunk {name}", card, folder)


def _classifier(card: RouterCard, folder: Path, trunks: Mapping[str, VggTrunk]) -> Classifier:
    classifier: Classifier
    with card_errors("the router"):
        if card.family == "head":
            classifier = HeadClassifier(trunks[card.trunk].channels, **card.arguments)
        else:
            if trunks[card.trunk].channels[32] != IMAGENET_CHANNELS:
                raise ValueError(f"the classifier imagenet reads the trunk vgg16 or vgg19, not {card.trunk}")
            classifier = ImageNetClassifier(**card.arguments)
    return _with_weights(classifier, "the router", card, folder)


def _expert(name: str, cards: Mapping[str, ExpertCard], folder: Path, trunks: Mapping[str, VggTrunk]) -> Colorizer:
    card = cards[name]
    with card_errors(f"expert {name}"):
        if card.family not in FAMILIES:
            raise ValueError(f"there is no family {card.family!r}: give one of {', '.join(FAMILIES)}")
        family = FAMILIES[card.family]
        if issubclass(family, TapColorizer) != (card.trunk is not None):
            raise ValueError(f"the family {card.family} {'needs a trunk' if card.trunk is None else 'does not read a trunk'}")
        expert = family(*(() if card.trunk is None else (trunks[card.trunk],)), **card.arguments)
    shared = read_weights(folder / cards[card.shares].file, cards[card.shares], f"expert {card.shares}") if card.shares else {}
    return _with_weights(expert, f"expert {name}", card, folder, shared)


def _check_sizes(manifest: Manifest, experts: Mapping[str, Colorizer]) -> None:
    """Working sizes must be multiples of the stride, and that of an expert must be that of its trunk."""
    for name, card in manifest.experts.items():
        stride = experts[name].stride
        if card.working_size % stride:
            raise BundleError(f"the working size of expert {name} is {card.working_size}: give a multiple of {stride}.")
        if card.trunk is not None and card.working_size != manifest.trunks[card.trunk].working_size:
            raise BundleError(f"the working size of expert {name} is {card.working_size}, and its trunk {card.trunk} has another.")
    for name, trunk in manifest.trunks.items():
        if trunk.working_size % STRIDE:
            raise BundleError(f"the working size of trunk {name} is {trunk.working_size}: give a multiple of {STRIDE}.")


def _with_weights(network: Network, what: str, card: Card, folder: Path, shared: Mapping[str, Tensor] | None = None) -> Network:
    """The network with the weights of its card, and those that it shares, in evaluation mode."""
    try:
        network.load_state_dict({**(shared or {}), **read_weights(folder / card.file, card, what)})
    except RuntimeError as error:
        raise CheckpointError(f"the file of {what}, {card.file}, does not fit the network of its card: {error}") from error
    return network.eval().requires_grad_(False)


def network_bytes(network: nn.Module) -> int:
    """Memory of a network's parameters and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
