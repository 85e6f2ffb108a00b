"""Which expert paints each category: the general one, that one read out anew, or a network of its own, if it pays."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from models.errors import BundleError, CheckpointError
from models.manifest import ExpertCard
from training.config import BundleRecipe
from training.data.batches import plain_batches
from training.data.packs import Pack
from training.fit import BEST
from training.material import GENERAL, Material
from training.publishing.base import Base
from training.publishing.cards import Cards
from training.publishing.choice import choose, pays
from training.publishing.read_outs import Tried, try_out
from training.trained import BASE, Trained, load_trained

PICTURES = 200  # at most so many of a category are tried on: in all its read-outs, one takes a tenth of a second


@dataclass(frozen=True)
class Painter:
    """A network that could paint, the name of its file, and what came of trying it."""

    file: str
    trained: Trained
    tried: Tried


@dataclass(frozen=True)
class Gallery:
    """Everything that experts are chosen from and by."""

    recipe: BundleRecipe
    material: Material
    runs: Path
    base: Base | None
    cards: Cards
    device: torch.device
    console: Console

    @cached_property
    def val(self) -> Pack:
        """The pictures that are tried on."""
        labels = self.material.val.labels
        return self.material.val.pick(np.concatenate([np.flatnonzero(labels == label)[:PICTURES] for label in np.unique(labels)]))

    def choose(self, categories: list[str]) -> tuple[dict[str, ExpertCard], dict[str, str]]:
        """The experts that are kept, and which of them paints each category.

        Raises:
            CheckpointError: an expert was trained on another base, or the recipe's general run does not exist.
            BundleError: nothing paints one of the categories.
        """
        general, served = self.general(), 0
        experts: dict[str, ExpertCard] = {}
        painted_by: dict[str, str] = {}
        if general is not None:
            _, served = choose({GENERAL: general.tried}, None, self.recipe.price)
            experts[GENERAL] = self.card(GENERAL, general, served)
            painted_by = dict.fromkeys(categories, GENERAL)
        own = [category for category in self.material.categories[:-1] if category in categories]
        chosen = {category: found for category in own if (found := self.chosen(category, general, served)) is not None}
        if missing := sorted(set(categories) - set(painted_by) - set(chosen)):
            raise BundleError(
                f"nothing paints {', '.join(missing)}: name runs that do in the recipe, as `experts`, or as `general` for the rest."
            )
        for category, (painter, way) in chosen.items():
            if general is None or (painter.file, way) != (GENERAL, served):
                experts[category], painted_by[category] = self.card(category, painter, way), category
        parts = [(painter.tried, way) for painter, way in chosen.values()]
        if general is not None:
            rest = torch.tensor([self.material.categories[label] not in chosen for label in self.val.labels])
            parts.append((general.tried.of(rest), served))
        share = sum(tried.colorfulness[way].sum() for tried, way in parts) / sum(tried.truth.sum() for tried, _ in parts)
        self.console.print(f"{len(experts)} experts for {len(painted_by)} categories, {share:.2f} of the truth's colorfulness")
        return experts, painted_by

    def general(self) -> Painter | None:
        """What paints the fallback, tried on everything."""
        if self.recipe.general:
            return self.painter(GENERAL, self.trained(self.recipe.general), self.val)
        return self.painter(GENERAL, self.base.general(self.recipe.working_size), self.val) if self.base is not None else None

    def chosen(self, category: str, general: Painter | None, served: int) -> tuple[Painter, int] | None:
        """What paints a category, and the way to serve it, out of the general expert and its own if it pays; None for nothing."""
        pictures, reference = self.material.of(self.val, category), None
        found: dict[str, Painter] = {}
        if general is not None and not self.recipe.keep_all:
            tried = general.tried.of(torch.from_numpy(self.val.labels == pictures.labels[0]))
            found[GENERAL], reference = replace(general, tried=tried), float(tried.errors.mean(dim=1)[served])
        name = f"{self.recipe.experts}/{category}"
        if self.recipe.experts and (self.runs / name / BEST).is_file():
            own = self.painter(category, self.trained(name), pictures)
            if not found or pays(own.tried.least_errors, found[GENERAL].tried.least_errors, self.recipe.margin):
                found[category] = own
        if not found:
            return None
        file, way = choose({file: painter.tried for file, painter in found.items()}, reference, self.recipe.price)
        return found[file], way

    def painter(self, file: str, trained: Trained, pack: Pack) -> Painter:
        """A network, tried on pictures at the size that it paints at."""
        size = self.recipe.working_size if trained.trunk == BASE else trained.size
        batches = (batch.to(self.device) for batch in plain_batches(pack, 32, size))
        return Painter(file, trained, try_out(trained.network, trained.arguments, batches))

    def card(self, category: str, painter: Painter, way: int) -> ExpertCard:
        """The card of what paints a category, served in that way."""
        error = float(painter.tried.errors[way].mean())
        arguments: dict[str, Any] = painter.tried.ways[way]
        self.console.print(f"{category}: {painter.file} {arguments}, ΔE94 {error:.3f}")
        card = self.cards.expert(painter.file, category, painter.trained, arguments)
        return card.model_copy(update={"scores": {"validation_delta_e94": error}})

    def trained(self, name: str) -> Trained:
        """The colorizer of a run, which must have been made on this base if it was made on any."""
        found = load_trained(self.runs / name, self.device, self.base and self.base.trunk)
        if found.trunk == BASE and self.base is not None and found.meta["origin"].get("base") != self.base.digest:
            raise CheckpointError(
                f"{self.runs / name} was fine-tuned from another {self.base.name}: train it again with --restart."
            )
        return found
