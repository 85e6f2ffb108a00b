"""Colorization as classification: cross-entropy over ab bins, with or without rebalancing, optionally from a classifier's encoder.

Paper 002; Zhang et al. 2016, sections 2.1 and 2.2. What differs: rebalancing has a strength, 1 as published.
"""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from models.ab_bins import srgb_cells
from models.colorizers.zhang import Zhang
from training.config.section import RecipeError
from training.config.task_options import BinOptions
from training.data.batches import Batch
from training.loop.checkpoints import load_state
from training.loop.train_state import TrainState
from training.losses import bin_cross_entropy, rebalancing_weights
from training.networks.state_dicts import select_prefix
from training.tasks.base import SingleNetworkTask, TaskContext, build_network


class BinsTask(SingleNetworkTask[BinOptions]):
    """Trains one `Zhang` network."""

    def __init__(self, options: BinOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.packs()
        torch.manual_seed(self.recipe.seed)
        self.network = build_network("zhang", Zhang, **options.arguments)
        if not self.network.bins.centers.any():  # only the weights of a checkpoint could define other bins
            bins = len(self.network.bins)
            raise RecipeError(f"task.arguments.bins is {bins}: give {len(srgb_cells())}, the number of ab cells in the sRGB gamut.")
        if context.earlier_checkpoint is not None:
            _load_encoder(self.network, context.earlier_checkpoint)
        self.recipe.schedule.check_sizes(self.network.stride)
        self.train_state = TrainState(self.network, self.recipe.schedule, self.group)
        self.weights = rebalancing_weights(self.network.bins, self.train_pack, options.rebalance).to(self.group.device)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.network.train()
        with self.train_state.autocast:
            logits = self.network.predict(batch.L)
        truth = F.avg_pool2d(batch.ab, batch.ab.shape[-1] // logits.shape[-1])
        loss = bin_cross_entropy(logits, truth, self.network.bins, self.weights)
        self.train_state.update(loss, lr_factor)
        return {"loss": float(loss.detach())}

    def meta(self) -> dict[str, Any]:
        return {"family": "zhang", "arguments": self.options.arguments, "category": self.context.category}


def _load_encoder(network: Zhang, checkpoint: Path) -> None:
    tensors, _ = load_state(checkpoint)
    try:
        network.encoder.load_state_dict(select_prefix(tensors, "features.encoder."))
    except RuntimeError as error:
        raise RecipeError(f"{checkpoint.parent} has no encoder of this width: train it with the same task.arguments.") from error
