"""A bundle: a folder of safetensors files with a manifest, loaded strictly, by sha256, or not at all."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from models.classifiers import Classifier, HeadClassifier, ImageNetClassifier
from models.colorizers import COLORIZERS, Colorizer, TapColorizer
from models.errors import BundleError, CheckpointError
from models.manifest import Card, ExpertCard, Manifest, RouterCard, TrunkCard, read_manifest
from models.router import Router
from models.vgg import VggTrunk

EVERYDAY = Path(__file__).parent / "bundles" / "everyday"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Bundle:
    """Networks in evaluation mode, as the manifest describes them. `digest` is the sha256 of the manifest."""

    manifest: Manifest
    digest: str
    trunks: Mapping[str, VggTrunk]
    classifier: Classifier
    router: Router
    experts: Mapping[str, Colorizer]

    @property
    def label(self) -> str:
        """Name and short digest, as headers and decision records give it."""
        return f"{self.manifest.name}@{self.digest[:12]}"


def load_bundle(folder: Path = EVERYDAY) -> Bundle:
    """Load the bundle in `folder`.

    Raises:
        BundleError: there is no manifest, or it is not valid.
        CheckpointError: a file is missing, or its sha256 or its tensors are not those of its card.
    """
    manifest, content = read_manifest(folder)
    trunks = {name: _trunk(name, card, folder) for name, card in manifest.trunks.items()}
    classifier = _classifier(manifest.router, folder, trunks)
    experts = {name: _expert(name, card, folder, trunks) for name, card in manifest.experts.items()}
    router = Router(classifier.categories, manifest.router.fallback, manifest.router.threshold)
    if strangers := set(router.choices) ^ set(manifest.categories):
        raise BundleError(f"router and manifest of {folder} do not agree on the categories {', '.join(sorted(strangers))}.")
    return Bundle(manifest, hashlib.sha256(content).hexdigest(), trunks, classifier, router, experts)


def verify_bundle(folder: Path = EVERYDAY) -> list[str]:
    """What is wrong with a bundle, a sentence a problem; empty if it can be served.

    Raises:
        BundleError: there is no manifest, or it is not valid.
    """
    manifest, _ = read_manifest(folder)
    problems = []
    for name, card in manifest.cards().items():
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
    """The tensors of a card's file as float32, if its sha256 is the card's.

    Raises:
        CheckpointError: the file is missing, altered, or no safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"the file of {what}, {path}, is missing: restore the bundle.")
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != card.sha256:
        raise CheckpointError(
            f"the file of {what}, {path}, has the sha256 {actual} and its card says {card.sha256}: "
            "it was altered or cut off; restore the bundle."
        )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"the file of {what}, {path}, is no safetensors file ({error}): restore the bundle.") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _trunk(name: str, card: TrunkCard, folder: Path) -> VggTrunk:
    with _sound_arguments(f"trunk {name}"):
        trunk = VggTrunk(**card.arguments)
    return _filled(trunk, f"trunk {name}", card, folder)


def _classifier(card: RouterCard, folder: Path, trunks: Mapping[str, VggTrunk]) -> Classifier:
    classifier: Classifier
    with _sound_arguments("the router"):
        if card.family == "head":
            classifier = HeadClassifier(trunks[card.trunk].channels, **card.arguments)
        elif card.family == "imagenet":
            classifier = ImageNetClassifier(**card.arguments)
        else:
            raise ValueError(f"there is no classifier {card.family!r}: give head or imagenet")
    return _filled(classifier, "the router", card, folder)


def _expert(name: str, card: ExpertCard, folder: Path, trunks: Mapping[str, VggTrunk]) -> Colorizer:
    with _sound_arguments(f"expert {name}"):
        if card.family not in COLORIZERS:
            raise ValueError(f"there is no family {card.family!r}: give one of {', '.join(COLORIZERS)}")
        family = COLORIZERS[card.family]
        if issubclass(family, TapColorizer) != (card.trunk is not None):
            raise ValueError(f"the family {card.family} {'needs a' if card.trunk is None else 'has no'} trunk")
        expert = family(*(() if card.trunk is None else (trunks[card.trunk],)), **card.arguments)
    return _filled(expert, f"expert {name}", card, folder)


@contextmanager
def _sound_arguments(what: str) -> Iterator[None]:
    """Turns what a constructor says of bad arguments into an error that names the card."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise BundleError(f"the card of {what} cannot be followed: {error}.") from error


def _filled(network: Network, what: str, card: Card, folder: Path) -> Network:
    """The network with its card's weights, strictly, ready to serve."""
    try:
        network.load_state_dict(read_weights(folder / card.file, card, what))
    except RuntimeError as error:
        raise CheckpointError(f"the file of {what}, {card.file}, does not fit the network of its card: {error}") from error
    return network.eval().requires_grad_(False)
