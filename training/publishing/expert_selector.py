"""Selects the expert of each category: the general expert, the general expert with another readout, or one of its own if it is
better.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from models.errors import BundleError, CheckpointError
from models.manifest import ExpertCard
from training.config.bundle_recipe import BundleRecipe
from training.data.batches import plain_batches
from training.data.datasets import GENERAL, Datasets
from training.data.packs import Pack
from training.loop.run_folder import BEST
from training.publishing.base import Base
from training.publishing.cards import CardBuilder
from training.publishing.readout_scores import ReadoutScores, score_readouts
from training.publishing.routers import CalibratedHead
from training.publishing.selection import beats, select_fallback_readout, select_readout
from training.runs.trained import BASE, TrainedColorizer, load_colorizer

PICTURES = 200  # of a category, at most; one picture with all readouts takes a tenth of a second


@dataclass(frozen=True)
class ExpertCandidate:
    """A network that could be an expert, the name of its file, and its scores."""

    file: str
    trained: TrainedColorizer
    scores: ReadoutScores


Selected = tuple[ExpertCandidate, int]  # and the index of its readout


@dataclass(frozen=True)
class ExpertSelector:
    """Selects experts from the runs of a bundle recipe, by their scores on validation pictures."""

    recipe: BundleRecipe
    datasets: Datasets
    runs: Path
    base: Base | None
    head: CalibratedHead | None
    cards: CardBuilder
    device: torch.device
    console: Console

    @cached_property
    def val(self) -> Pack:
        """The pictures on which candidates are scored."""
        labels = self.datasets.val.labels
        return self.datasets.val.pick(np.concatenate([np.flatnonzero(labels == label)[:PICTURES] for label in np.unique(labels)]))

    def select(self, categories: list[str]) -> tuple[dict[str, ExpertCard], dict[str, str]]:
        """The cards of the selected experts, and the name of the expert of each category.

        Raises:
            CheckpointError: an expert was trained on another base, or the general run of the recipe does not exist.
            BundleError: a category has no expert.
        """
        general, general_readout = self._general(), 0
        if general is not None:
            _, general_readout = select_readout({GENERAL: general.scores}, None, self.recipe.colorfulness_price)
        candidates = {
            name: found
            for name in self.datasets.categories[:-1]
            if name in categories and (found := self._candidates(name, general))
        }
        selected = self._select(candidates, general_readout)
        experts: dict[str, ExpertCard] = {}
        expert_of: dict[str, str] = {}
        if general is not None:
            general_readout = self._fallback_readout(general, general_readout, selected)
            selected = self._select(candidates, general_readout)
            experts[GENERAL] = self._card(GENERAL, general, general_readout)
            expert_of = dict.fromkeys(categories, GENERAL)
        if missing := sorted(set(categories) - set(expert_of) - set(selected)):
            raise BundleError(
                f"there is no expert for {', '.join(missing)}: set `experts` in the recipe to their runs, or `general`."
            )
        for category, (candidate, readout) in selected.items():
            if general is None or (candidate.file, readout) != (GENERAL, general_readout):
                experts[category], expert_of[category] = self._card(category, candidate, readout), category
        self._print_colorfulness(len(experts), selected, general, general_readout)
        return experts, expert_of

    def _general(self) -> ExpertCandidate | None:
        """The candidate for the fallback, scored on all pictures."""
        if self.recipe.general:
            return self._candidate(GENERAL, self._load(self.recipe.general), self.val)
        return self._candidate(GENERAL, self.base.general(self.recipe.working_size), self.val) if self.base is not None else None

    def _candidates(self, category: str, general: ExpertCandidate | None) -> dict[str, ExpertCandidate]:
        """The networks that could serve a category, by file, scored on its pictures; none if there is no run."""
        pictures = self.datasets.of_category(self.val, category)
        candidates: dict[str, ExpertCandidate] = {}
        if general is not None and not self.recipe.keep_all:
            scores = general.scores.of_pictures(torch.from_numpy(self.val.labels == pictures.labels[0]))
            candidates[GENERAL] = replace(general, scores=scores)
        run = f"{self.recipe.experts}/{category}"
        if self.recipe.experts and (self.runs / run / BEST).is_file():
            own = self._candidate(category, self._load(run), pictures)
            if not candidates or beats(own.scores.lowest_errors, candidates[GENERAL].scores.lowest_errors, self.recipe.margin):
                candidates[category] = own
        return candidates

    def _select(self, candidates: dict[str, dict[str, ExpertCandidate]], general_readout: int) -> dict[str, Selected]:
        """The candidate for each category, and the index of its readout."""
        selected = {}
        for category, own in candidates.items():
            reference = float(own[GENERAL].scores.errors.mean(dim=1)[general_readout]) if GENERAL in own else None
            scores = {file: candidate.scores for file, candidate in own.items()}
            file, readout = select_readout(scores, reference, self.recipe.colorfulness_price)
            selected[category] = own[file], readout
        return selected

    def _fallback_readout(self, general: ExpertCandidate, readout: int, selected: dict[str, Selected]) -> int:
        """The readout of the general expert with which it is no worse than the selected experts on the pictures that fall back.

        It is the given one if nothing falls back, or if the router is not the head of the base.
        """
        if self.head is None or self.recipe.keep_all:
            return readout
        likeliest, fell_back = self.head.routes(self.val)
        errors = torch.full((len(self.val),), float("nan"))
        for index, category in enumerate(self.datasets.categories[:-1]):
            chosen = fell_back & (likeliest == index)
            if category in selected and chosen.any():
                candidate, own_readout = selected[category]
                if candidate.file == GENERAL:
                    scores = general.scores.of_pictures(chosen)
                else:
                    pictures = self.val.pick(np.flatnonzero(chosen.numpy()))
                    scores = self._candidate(category, candidate.trained, pictures).scores
                errors[chosen] = scores.errors[own_readout]
        compared = ~errors.isnan()
        if not compared.any():
            return readout
        return select_fallback_readout(
            general.scores.of_pictures(compared), float(errors[compared].mean()), self.recipe.colorfulness_price
        )

    def _candidate(self, file: str, trained: TrainedColorizer, pack: Pack) -> ExpertCandidate:
        """A network, scored on pictures at its working size."""
        size = self.recipe.working_size if trained.trunk == BASE else trained.size
        batches = (batch.to(self.device) for batch in plain_batches(pack, 32, size, trained.normalize_tones))
        return ExpertCandidate(file, trained, score_readouts(trained.network, trained.arguments, batches))

    def _card(self, category: str, candidate: ExpertCandidate, readout: int) -> ExpertCard:
        """The card of a candidate with one of its readouts."""
        error = float(candidate.scores.errors[readout].mean())
        arguments = candidate.scores.readouts[readout]
        self.console.print(f"{category}: {candidate.file} {arguments}, ΔE94 {error:.3f}")
        card = self.cards.expert(candidate.file, category, candidate.trained, arguments)
        return card.model_copy(update={"scores": {"validation_delta_e94": error}})

    def _print_colorfulness(
        self,
        count: int,
        selected: dict[str, Selected],
        general: ExpertCandidate | None,
        general_readout: int,
    ) -> None:
        parts = [(candidate.scores, readout) for candidate, readout in selected.values()]
        if general is not None:
            rest = torch.tensor([label < 0 or self.datasets.categories[label] not in selected for label in self.val.labels])
            parts.append((general.scores.of_pictures(rest), general_readout))
        share = sum(scores.colorfulness[readout].sum() for scores, readout in parts) / sum(
            scores.truth.sum() for scores, _ in parts
        )
        self.console.print(f"{count} experts, with {share:.2f} of the colorfulness of the truth")

    def _load(self, name: str) -> TrainedColorizer:
        """The colorizer of a run; one that was fine-tuned must have been fine-tuned from this base."""
        trained = load_colorizer(self.runs / name, self.device, None if self.base is None else self.base.trunk)
        if trained.trunk == BASE and self.base is not None and trained.meta["origin"].get("base") != self.base.digest:
            raise CheckpointError(
                f"{self.runs / name} was fine-tuned from another {self.base.name}: train it again with --restart."
            )
        return trained
