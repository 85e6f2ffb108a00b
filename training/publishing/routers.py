"""The router of a bundle: the base's own head, calibrated, or torchvision's ImageNet network over its label map."""

from pathlib import Path

from rich.console import Console

from models.classifiers import HeadClassifier, imagenet_mapping
from models.manifest import RouterCard, TrunkCard
from training.config import ImageNetRouter
from training.data.batches import plain_batches
from training.data.packs import Pack
from training.imagenet import imagenet_weights
from training.learner import part
from training.material import GENERAL
from training.publishing.base import Base
from training.publishing.calibration import choose_temperature, choose_threshold, router_logits
from training.publishing.cards import IMAGENET_LICENSE, Cards


def own_router(base: Base, val: Pack, risk: float, cards: Cards, console: Console) -> RouterCard:
    """The base's head, its temperature and threshold chosen on the validation pictures."""
    device = next(base.trunk.parameters()).device
    head = HeadClassifier(base.trunk.channels, base.categories[:-1]).eval().to(device)
    tensors = part(base.tensors, "head.")
    head.load_state_dict(tensors)
    batches = (batch.to(device) for batch in plain_batches(val, 32, cards.working_size))
    logits, labels = router_logits(base.trunk, head, batches)
    temperature = choose_temperature(logits, labels)
    probabilities = (logits / temperature).softmax(dim=1)
    threshold = choose_threshold(probabilities, labels, risk)
    right = float((probabilities.argmax(dim=1) == labels).float().mean())
    console.print(f"router: {right:.1%} right, temperature {temperature}, threshold {threshold}")
    card: RouterCard = cards.card(RouterCard, "router", tensors, base.data, family="head",
                                  arguments={"categories": base.categories[:-1], "temperature": temperature},
                                  trunk=base.name, threshold=threshold, fallback=GENERAL,
                                  scores={"validation_top1": right})  # fmt: skip
    return card


def imagenet_router(options: ImageNetRouter, cards: Cards) -> tuple[RouterCard, list[str]]:
    """Torchvision's network with the recipe's rule, and the categories that its labels are mapped onto.

    Raises:
        CheckpointError: its weights cannot be had.
    """
    state = imagenet_weights(options.network, Path(options.weights) if options.weights else None)
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    dense = {name: tensor for name, tensor in state.items() if name.startswith("classifier.")}
    cards.trunks[options.network] = cards.card(TrunkCard, options.network, features, "", family="vgg_trunk",
                                               arguments={"network": options.network}, working_size=224,
                                               license=IMAGENET_LICENSE)  # fmt: skip
    card = cards.card(RouterCard, "router", dense, "", family="imagenet",
                      arguments={"mapping": options.mapping, "score": options.score}, trunk=options.network,
                      threshold=options.threshold, fallback=options.fallback, license=IMAGENET_LICENSE)  # fmt: skip
    return card, sorted({category for category in imagenet_mapping(options.mapping) if category})
