"""Painting and naming by one network: squared error plus cross-entropy / 200; paper 000, sections 3.1 and 3.3.

The cross-entropy reaches the naming branch, the global features up to it and the low-level features, and neither the mid-level
features nor the color decoder: that is how the branches hang together, and a test follows the gradients.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers import Colorizer
from models.colorizers.iizuka import Iizuka, Namer
from training.config import Combined, Recipe
from training.data.batches import Batch
from training.data.packs import Pack
from training.evaluation.naming import NamingTally
from training.learner import Learner
from training.losses import scaled_truth
from training.tasks.base import NetworkPainter, validation_pack
from training.team import Team


class CombinedNetwork(nn.Module):
    """The colorizer with its naming branch."""

    def __init__(self, size: int, build: Any, classes: int) -> None:
        super().__init__()
        self.expert = Iizuka(size, build)
        self.namer = Namer(classes, build)

    def forward(self, L: Tensor) -> tuple[Tensor, Tensor]:
        """Ab on the network's scale, and logits `(n,classes)`."""
        predicted, features = self.expert.predict_and_name(L)
        return predicted, self.namer(features)


class CombinedTask(NetworkPainter):
    """Train a `CombinedNetwork` on all categories of the pack."""

    def __init__(self, recipe: Recipe, train: Pack, val: Pack, team: Team) -> None:
        assert isinstance(recipe.task, Combined)
        self.recipe, self.options, self.team = recipe, recipe.task, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.network = CombinedNetwork(recipe.task.size, recipe.task.build, len(train.categories))
        recipe.schedule.check_sizes(Iizuka.stride)
        self.learner = Learner(self.network, recipe.schedule, team)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.network.train()
        with self.learner.autocast:
            predicted, logits = self.network(batch.L)
        painting = F.mse_loss(predicted.float(), scaled_truth(self.network.expert, predicted, batch.L, batch.ab))
        naming = F.cross_entropy(logits.float(), batch.labels)
        self.learner.update(painting + self.options.naming * naming, pace)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        return {"loss": float(painting.detach()), "naming": float(naming.detach()), "accuracy": float(accuracy)}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        network, tally, losses = self._both(), NamingTally(self.train_pack.categories), []
        for batch in self.validation():
            with self.learner.autocast:
                predicted, logits = network(batch.L)
            truth = scaled_truth(network.expert, predicted, batch.L, batch.ab)
            losses.append(float(F.mse_loss(predicted.float(), truth)) * len(truth))
            tally.add(logits.float(), batch.labels)
        loss = sum(losses) / len(validation_pack(self.recipe, self.val_pack))
        return {**super().validate(), "val_loss": loss, **tally.scores()}

    def averaged(self) -> Colorizer:
        return self._both().expert

    def result(self) -> dict[str, Tensor]:
        return {**super().result(), **{f"namer.{name}": tensor for name, tensor in self._both().namer.state_dict().items()}}

    def meta(self) -> dict[str, Any]:
        arguments = {"size": self.options.size, "build": self.options.build}
        return {"family": "iizuka", "arguments": arguments, "category": "general", "categories": self.train_pack.categories}

    def _both(self) -> CombinedNetwork:
        return cast(CombinedNetwork, self.learner.kept())
