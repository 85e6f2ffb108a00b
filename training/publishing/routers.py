"""The router of a bundle: the calibrated head of the base, or an ImageNet network of torchvision with a label map."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.imagenet import imagenet_categories
from models.manifest import RouterCard, TrunkCard
from models.router import Router
from training.config.bundle_recipe import HeadRouter, ImageNetRouter
from training.data.batches import plain_batches
from training.data.datasets import GENERAL, Datasets
from training.data.packs import Pack
from training.networks.imagenet import imagenet_weights
from training.networks.state_dicts import select_prefix
from training.publishing.base import Base
from training.publishing.calibration import choose_temperature, choose_threshold, router_logits
from training.publishing.cards import IMAGENET_LICENSE, CardBuilder


@dataclass(frozen=True)
class CalibratedHead:
    """The head of a base with the temperature and the threshold of a bundle."""

    base: Base
    head: HeadClassifier
    threshold: float
    size: int

    def routes(self, pack: Pack) -> tuple[Tensor, Tensor]:
        """The index of the most probable category of each picture, and whether the picture falls back, both `(n,)`."""
        probabilities = (_logits(self.base, self.head, pack, self.size)[0] / self.head.temperature).softmax(dim=1)
        router = Router(self.base.categories[:-1], GENERAL, self.threshold)
        fell_back = [router.route(row).fell_back for row in probabilities.numpy()]
        return probabilities[:, :-1].argmax(dim=1), torch.tensor(fell_back)


def head_router(
    options: HeadRouter, base: Base, datasets: Datasets, cards: CardBuilder, console: Console
) -> tuple[RouterCard, CalibratedHead]:
    """The head of the base, with a temperature and a threshold chosen on validation pictures.

    Categories that are frequent in training are not preferred by as much (logit adjustment after training, Menon et al. 2021,
    section 4.1). What differs: a share of the logarithm, and not for *general*, which is no category.

    Returns:
        The card of the router, and the head as it is published.
    """
    device = next(base.trunk.parameters()).device
    head = HeadClassifier(base.trunk.channels, base.categories[:-1]).eval().to(device)
    tensors = select_prefix(base.tensors, "head.")
    if options.prior_weight:
        prior = torch.from_numpy(np.log(datasets.frequencies[:-1].clip(1e-6))).float()
        tensors["dense.bias"] = tensors["dense.bias"] - options.prior_weight * F.pad(prior, (0, 1)).to(tensors["dense.bias"].device)
    head.load_state_dict(tensors)
    logits, labels = _logits(base, head, datasets.val.labeled(), cards.working_size)
    head.temperature = temperature = choose_temperature(logits, labels)
    probabilities = (logits / temperature).softmax(dim=1)
    threshold = choose_threshold(probabilities, labels, options.risk)
    top1 = float((probabilities.argmax(dim=1) == labels).float().mean())
    console.print(f"router: top-1 {top1:.1%}, temperature {temperature}, threshold {threshold}")
    card = cards.card(
        RouterCard, "router", tensors, base.data, family="head",
        arguments={"categories": base.categories[:-1], "temperature": temperature},
        trunk=base.name, threshold=threshold, fallback=GENERAL, scores={"validation_top1": top1},
    )  # fmt: skip
    return card, CalibratedHead(base, head, threshold, cards.working_size)


def _logits(base: Base, head: HeadClassifier, pack: Pack, size: int) -> tuple[Tensor, Tensor]:
    """Logits `(n, categories + 1)` and labels `(n,)` of the pictures of a pack."""
    device = next(base.trunk.parameters()).device
    return router_logits(
        base.trunk, head, (batch.to(device) for batch in plain_batches(pack, 32, size, base.normalize_tones))
    )  # fmt: skip


def imagenet_router(options: ImageNetRouter, cards: CardBuilder) -> tuple[RouterCard, list[str]]:
    """The network of torchvision with the rule of the recipe, and the categories to which its labels are mapped.

    Raises:
        CheckpointError: its weights cannot be loaded.
    """
    state = imagenet_weights(options.network, Path(options.weights) if options.weights else None)
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    dense = {name: tensor for name, tensor in state.items() if name.startswith("classifier.")}
    cards.trunks[options.network] = cards.card(
        TrunkCard, options.network, features, "", family="vgg_trunk", arguments={"network": options.network},
        working_size=224, license=IMAGENET_LICENSE,
    )  # fmt: skip
    card = cards.card(
        RouterCard, "router", dense, "", family="imagenet", arguments={"mapping": options.mapping, "score": options.score},
        trunk=options.network, threshold=options.threshold, fallback=options.fallback, license=IMAGENET_LICENSE,
    )  # fmt: skip
    return card, list(imagenet_categories(options.mapping))
