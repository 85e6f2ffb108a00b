"""Squared error on ab, for any family that reads L: paper 003 trains its strided CNN so, one network a category."""

from typing import Any

import torch
from torch.nn import functional as F

from models.colorizers import COLORIZERS, TapColorizer
from training.config import Recipe, RecipeError, Regression
from training.data.batches import Batch
from training.data.packs import Pack
from training.losses import ab_squared_error
from training.tasks.base import Learner, NetworkPainter


class RegressionTask(NetworkPainter):
    """Train one colorizer by regression.

    Raises:
        RecipeError: the family is unknown, or reads a trunk's taps.
    """

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, device: torch.device) -> None:
        assert isinstance(recipe.task, Regression)
        self.recipe, self.options, self.category, self.device = recipe, recipe.task, category, device
        self.train_pack, self.val_pack = train, val
        plain = [name for name, family in COLORIZERS.items() if not issubclass(family, TapColorizer)]
        if recipe.task.family not in plain:
            raise RecipeError(f"family is {recipe.task.family!r}: a regression can train {', '.join(plain)}.")
        torch.manual_seed(recipe.seed)
        self.network = COLORIZERS[recipe.task.family](**recipe.task.arguments)
        recipe.schedule.check_sizes(self.network.stride)
        self.learner = Learner(self.network, recipe.schedule, device)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.device)
        self.network.train()
        with self.learner.autocast:
            predicted = self.network(batch.L)
        truth = F.interpolate(batch.ab, predicted.shape[-2:], mode="area")
        loss = ab_squared_error(predicted.float(), truth)
        self.learner.update(loss, pace)
        return {"squared_error": float(loss.detach())}

    def meta(self) -> dict[str, Any]:
        return {"family": self.options.family, "arguments": self.options.arguments, "category": self.category}
