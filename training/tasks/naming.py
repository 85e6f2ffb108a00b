"""A classifier, by cross-entropy: paper 003's router, paper 000's branch alone, and the judge of paper 002."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.backbones import build_namer
from training.config import Naming, Recipe
from training.data.batches import Batch, plain_batches
from training.data.packs import Pack
from training.evaluation.naming import NamingTally
from training.evaluation.validation import named_sheet
from training.learner import Learner
from training.tasks.base import Task, drawn, validation_pack
from training.team import Team


class NamingTask(Task):
    """Train a network of `backbones` to name the categories of the pack.

    Raises:
        RecipeError, CheckpointError: see `build_namer`.
    """

    def __init__(self, recipe: Recipe, train: Pack, val: Pack, team: Team) -> None:
        assert isinstance(recipe.task, Naming)
        self.recipe, self.options, self.team = recipe, recipe.task, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.network = build_namer(recipe.task, len(train.categories))
        self.learner = Learner(self.network, recipe.schedule, team)

    def draw(self, step: int) -> Batch:
        return drawn(self.recipe, self.train_pack, step)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.network.train()
        with self.learner.autocast:
            logits = self.network(batch.L, batch.ab).float()
        loss = F.cross_entropy(logits, batch.labels)
        self.learner.update(loss, pace)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        return {"naming": float(loss.detach()), "accuracy": float(accuracy)}

    def validate(self) -> dict[str, Any]:
        tally = NamingTally(self.train_pack.categories)
        for batch in plain_batches(validation_pack(self.recipe, self.val_pack), 64, self.recipe.schedule.validation_size):
            batch = batch.to(self.team.device)
            tally.add(self._logits(batch), batch.labels)
        scores = tally.scores()
        return {"score": scores["top1"], **scores}

    def sheet(self) -> bytes:
        batch = next(plain_batches(self.val_pack.spread(12), 12, self.recipe.schedule.validation_size))
        probabilities = self._logits(batch.to(self.team.device)).softmax(dim=1).cpu()
        return named_sheet(batch, probabilities, self.train_pack.categories, self.options.reads == "color")

    def result(self) -> dict[str, Tensor]:
        return dict(self.learner.kept().state_dict())

    def meta(self) -> dict[str, Any]:
        options = self.options.model_dump(mode="json", exclude={"kind", "frozen"})
        return {"namer": options, "categories": self.train_pack.categories}

    def state(self) -> dict[str, Tensor]:
        return self.learner.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        with self.learner.autocast:
            logits: Tensor = self.learner.kept()(batch.L, batch.ab)
        return logits.float()
