"""Squared error, for any family that predicts chrominance itself and on the scale that it predicts it on.

Papers 000 (color alone), 001, 002 (its L2 model), 003 and 004 (the hypercolumn baseline) train so.
"""

from typing import Any, cast

import torch
from torch.nn import functional as F

from models.colorizers import COLORIZERS, Colorizer, RegressionColorizer, TapColorizer
from training.config import Recipe, RecipeError, Regression
from training.data.batches import Batch, plain_batches
from training.data.packs import Pack
from training.learner import Learner
from training.losses import channel_accuracy, scaled_truth
from training.tasks.base import NetworkPainter, built
from training.team import Team
from training.trunks import frozen_trunk

PROBE = 256  # validation pictures that loss and accuracy are taken on


class RegressionTask(NetworkPainter):
    """Train one colorizer by regression.

    Raises:
        RecipeError: the family is unknown or predicts no chrominance, or its arguments or its trunk's weights cannot be followed.
        CheckpointError: the trunk's weights cannot be had.
    """

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, team: Team) -> None:
        assert isinstance(recipe.task, Regression)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.network = _network(recipe.task, team)
        recipe.schedule.check_sizes(self.network.stride)
        self.learner = Learner(self.network, recipe.schedule, team)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.network.train()
        with self.learner.autocast:
            predicted = self.network.predict(batch.L)
        truth = scaled_truth(self.network, predicted, batch.L, batch.ab)
        loss = F.mse_loss(predicted.float(), truth)
        self.learner.update(loss, pace)
        return {"loss": float(loss.detach()), "accuracy": float(channel_accuracy(predicted, truth))}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        network = cast(RegressionColorizer, self.averaged())
        pack, losses, accuracies = self.val_pack.spread(PROBE), [], []
        for batch in plain_batches(pack, 64, self.recipe.schedule.validation_size):
            batch = batch.to(self.team.device)
            with self.learner.autocast:
                predicted = network.predict(batch.L).float()
            truth = scaled_truth(network, predicted, batch.L, batch.ab)
            losses.append(F.mse_loss(predicted, truth) * len(truth))
            accuracies.append(channel_accuracy(predicted, truth) * len(truth))
        found = {"val_loss": float(sum(losses)) / len(pack), "val_accuracy": float(sum(accuracies)) / len(pack)}
        return {**super().validate(), **found}

    def meta(self) -> dict[str, Any]:
        trunk = {"trunk": {"network": self.options.trunk, "weights": self.options.weights}}
        own = {"family": self.options.family, "arguments": self.options.arguments, "category": self.category}
        return {**own, **trunk} if isinstance(self.network, TapColorizer) else own


def _network(options: Regression, team: Team) -> RegressionColorizer:
    family = COLORIZERS.get(options.family, Colorizer)
    if not issubclass(family, RegressionColorizer):
        able = ", ".join(name for name, family in COLORIZERS.items() if issubclass(family, RegressionColorizer))
        raise RecipeError(f"family is {options.family!r}: a regression can train {able}.")
    trunk = ()
    if issubclass(family, TapColorizer):
        trunk = (frozen_trunk(options.trunk, options.weights).to(team.device, memory_format=torch.channels_last),)
    return built(options.family, family, *trunk, **options.arguments)
