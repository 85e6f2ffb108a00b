"""Color as a class: cross-entropy over ab bins, with or without rebalancing, from nothing or a classifier's blocks; paper 002.

Zhang et al. 2016, sections 2.1 and 2.2. What differs: rebalancing has a strength, 1 as published.
"""

from pathlib import Path
from typing import Any

import torch

from models.colorizers.zhang import Zhang
from training.checkpoints import load_state
from training.config import Bins, Recipe, RecipeError
from training.data.batches import Batch
from training.data.packs import Pack
from training.learner import Learner, part
from training.losses import bin_cross_entropy, rebalancing_weights
from training.tasks.base import NetworkPainter, built
from training.team import Team


class BinsTask(NetworkPainter):
    """Train one `Zhang` network; `encoder` is the best checkpoint of a naming run, or None.

    Raises:
        RecipeError: the arguments make no network over bins, or the encoder is of another width.
        CheckpointError: there is no such encoder.
    """

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, encoder: Path | None, team: Team) -> None:
        assert isinstance(recipe.task, Bins)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.network = built("zhang", Zhang, **recipe.task.arguments)
        if self.network.bins is None:
            raise RecipeError("task.arguments.output is 'ab': the task bins trains 'bins', and the task regression 'ab'.")
        self.bins = self.network.bins
        if encoder is not None:
            _take_over(self.network, encoder)
        recipe.schedule.check_sizes(self.network.stride)
        self.learner = Learner(self.network, recipe.schedule, team)
        self.weights = rebalancing_weights(self.bins, train, recipe.task.rebalance).to(team.device)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.network.train()
        with self.learner.autocast:
            logits = self.network.predict(batch.L)
        truth = torch.nn.functional.avg_pool2d(batch.ab, batch.ab.shape[-1] // logits.shape[-1])
        loss = bin_cross_entropy(logits, truth, self.bins, self.weights)
        self.learner.update(loss, pace)
        return {"loss": float(loss.detach())}

    def meta(self) -> dict[str, Any]:
        return {"family": "zhang", "arguments": self.options.arguments, "category": self.category}


def _take_over(network: Zhang, checkpoint: Path) -> None:
    tensors, _ = load_state(checkpoint)
    try:
        network.encoder.load_state_dict(part(tensors, "features.encoder."))
    except RuntimeError as error:
        raise RecipeError(f"{checkpoint.parent} has no encoder for these arguments: train it with the same width.") from error
