"""Which expert paints each category: the general one, that one read out anew, or a network of its own, if it pays."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from models.colorizers.vgg_expert import VggExpert
from models.errors import BundleError, CheckpointError
from models.manifest import ExpertCard
from training.config import BundleRecipe
from training.data.batches import Batch, plain_batches
from training.data.packs import Pack
from training.fit import BEST
from training.material import GENERAL, Material
from training.publishing.base import Base
from training.publishing.calibration import ReadOut, choose_read_out, judged, pays
from training.publishing.cards import Cards
from training.trained import BASE, Trained, load_trained

PICTURES = 1000  # at most so many are calibrated on: all their distributions are in memory at once


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

    def choose(self, categories: list[str]) -> tuple[dict[str, ExpertCard], dict[str, str]]:
        """The experts that are kept, and which of them paints each category.

        Raises:
            CheckpointError: an expert was trained on another base, or the recipe's general run does not exist.
            BundleError: nothing paints one of the categories.
        """
        general, arguments = self.general(), {}
        experts: dict[str, ExpertCard] = {}
        painted_by: dict[str, str] = {}
        if general is not None:
            arguments = self.read_out(general, self.batches(self.material.val, general), self.recipe.least_colourfulness)
            experts[GENERAL] = self.cards.expert(GENERAL, GENERAL, general, arguments)
            self.console.print(f"{GENERAL}: {general.family} {arguments}")
            painted_by = dict.fromkeys(categories, GENERAL)
        for category in self.material.categories[:-1]:
            if category not in categories:
                continue
            if (card := self.best(category, general, arguments)) is not None:
                experts[category], painted_by[category] = card, category
        if missing := sorted(set(categories) - set(painted_by)):
            raise BundleError(
                f"nothing paints {', '.join(missing)}: name runs that do in the recipe, as `experts`, or as `general` for the rest."
            )
        self.console.print(f"{len(experts)} experts for {len(painted_by)} categories")
        return experts, painted_by

    def general(self) -> Trained | None:
        """What paints the fallback."""
        if self.recipe.general:
            return self.trained(self.recipe.general)
        return self.base.general(self.recipe.working_size) if self.base is not None else None

    def best(self, category: str, general: Trained | None, arguments: dict[str, Any]) -> ExpertCard | None:
        """The card of what paints a category best, or None for the general expert as it is."""
        val = self.material.of(self.material.val, category)
        found, best, floor = None, None, self.recipe.least_colourfulness
        if general is not None:
            _set(general, arguments)
            best, vividness = judged(general.network, self.batches(val, general))
            floor = min(floor, vividness)  # a rival must be as vivid, not more
        for file, rival in self.rivals(category, general):
            own = self.batches(val, rival)
            chosen = self.read_out(rival, own, floor)
            errors, _ = judged(rival.network, own)
            card = self.cards.expert(file, category, rival, chosen)
            self.console.print(f"{category}: {_figures(errors, best)}, {card.file} {card.arguments}")
            if best is None or pays(errors, best, self.recipe.margin) or self.recipe.keep_all:
                scores = {"validation_delta_e94": float(errors.mean())}
                best, found = errors, card.model_copy(update={"scores": scores})
        return found

    def rivals(self, category: str, general: Trained | None) -> Iterator[tuple[str, Trained]]:
        """What could paint a category better than the general expert, with the name of its file."""
        if general is not None and isinstance(general.network, VggExpert) and not self.recipe.keep_all:
            yield GENERAL, general
        name = f"{self.recipe.experts}/{category}"
        if self.recipe.experts and (self.runs / name / BEST).is_file():
            yield category, self.trained(name)

    def trained(self, name: str) -> Trained:
        """The colorizer of a run, which must have been made on this base if it was made on any."""
        found = load_trained(self.runs / name, self.device, self.base and self.base.trunk)
        if found.trunk == BASE and self.base is not None and found.meta["origin"].get("base") != self.base.digest:
            raise CheckpointError(
                f"{self.runs / name} was fine-tuned from another {self.base.name}: train it again with --restart."
            )
        return found

    def read_out(self, trained: Trained, batches: list[Batch], least_colourfulness: float) -> dict[str, Any]:
        """The arguments that a network is served with; those of a distribution are chosen, and set, on these pictures."""
        if not isinstance(trained.network, VggExpert):
            return trained.arguments
        chosen = choose_read_out(trained.network.trunk, trained.network, batches, least_colourfulness)
        _set(trained, chosen.arguments())
        return chosen.arguments()

    def batches(self, pack: Pack, trained: Trained) -> list[Batch]:
        """Validation pictures at the size that a network paints at."""
        size = self.recipe.working_size if trained.trunk == BASE else trained.size
        return [batch.to(self.device) for batch in plain_batches(pack.spread(PICTURES), 32, size)]


def _set(trained: Trained, arguments: dict[str, Any]) -> None:
    if isinstance(trained.network, VggExpert):
        for name, value in ReadOut(**arguments).arguments().items():
            setattr(trained.network, name, value)


def _figures(errors: Tensor, best: Tensor | None) -> str:
    return f"ΔE94 {errors.mean():.3f}" + (f" against {best.mean():.3f}" if best is not None else "")
