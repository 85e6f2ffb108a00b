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

from models.classifiers import IMAGENET_CHANNELS, Classifier, HeadClassifier, ImageNetClassifier
from models.colorizers import COLORIZERS, Colorizer, TapColorizer
from models.errors import BundleError, CheckpointError
from models.manifest import Card, ExpertCard, Manifest, RouterCard, TrunkCard, read_manifest
from models.residents import Residents
from models.router import Router
from models.vgg import STRIDE, VggTrunk

EVERYDAY = Path(__file__).parent / "bundles" / "everyday"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Bundle:
    """Networks in evaluation mode, as the manifest describes them. `digest` is the sha256 of the manifest.

    Looking up an expert may read it from its file again, and raise a CheckpointError, where they are kept within a budget.
    """

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


def load_bundle(folder: Path = EVERYDAY, expert_bytes: int | None = None) -> Bundle:
    """Load the bundle in `folder`; every file is read once, and checked.

    Args:
        folder: the bundle's; where it is a link, the folder that it leads to now stays the bundle's.
        expert_bytes: memory that experts may take; the least recently used leave first. None keeps all.

    Raises:
        BundleError: there is no manifest, or it is not valid.
        CheckpointError: a file is missing, or its sha256 or its tensors are not those of its card.
    """
    folder = folder.resolve()
    manifest, content = read_manifest(folder)
    trunks = {name: _trunk(name, card, folder) for name, card in manifest.trunks.items()}
    classifier = _classifier(manifest.router, folder, trunks)
    experts = Residents(manifest.experts, lambda name: _expert(name, manifest.experts[name], folder, trunks), expert_bytes)
    others = [category for category in manifest.categories if category not in classifier.categories]
    router = Router(classifier.categories, manifest.router.fallback, manifest.router.threshold, others)
    if strangers := set(router.choices) - set(manifest.categories):
        raise BundleError(f"the router of {folder} knows categories that nobody paints: {', '.join(sorted(strangers))}.")
    _check_sizes(manifest, experts)
    return Bundle(manifest, hashlib.sha256(content).hexdigest(), trunks, classifier, router, experts)


def verify_bundle(folder: Path = EVERYDAY) -> list[str]:
    """What is wrong with a bundle, a sentence a problem; empty if it can be served.

    Raises:
        BundleError: there is no manifest, or it is not valid.
    """
    manifest, _ = read_manifest(folder)
    problems = []
    once = {(card.file, card.sha256): (name, card) for name, card in reversed(manifest.cards().items())}  # experts may share a file
    for name, card in reversed(once.values()):
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
    if len(content) != card.bytes:
        raise CheckpointError(
            f"the file of {what}, {path}, has {len(content)} bytes and its card says {card.bytes}: restore the bundle."
        )
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
            if trunks[card.trunk].channels[32] != IMAGENET_CHANNELS:
                raise ValueError(f"the classifier imagenet reads the trunk vgg16 or vgg19, not {card.trunk}")
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


def _check_sizes(manifest: Manifest, experts: Mapping[str, Colorizer]) -> None:
    """Working sizes are whole numbers of strides, and those of an expert and its trunk are one."""
    for name, card in manifest.experts.items():
        stride = experts[name].stride
        if card.working_size % stride:
            raise BundleError(f"the working size of expert {name} is {card.working_size}: give a multiple of {stride}.")
        if card.trunk is not None and card.working_size != manifest.trunks[card.trunk].working_size:
            raise BundleError(f"the working size of expert {name} is {card.working_size}, and its trunk {card.trunk} has another.")
    for name, trunk in manifest.trunks.items():
        if trunk.working_size % STRIDE:
            raise BundleError(f"the working size of trunk {name} is {trunk.working_size}: give a multiple of {STRIDE}.")


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
