"""Regression: squared error of a regression colorizer, on the scale on which it predicts.

Papers 000 (color alone), 001, 002 (its L2 model), 003 and 004 (the hypercolumn baseline) train this way.
"""

from typing import Any, cast

import torch
from torch.nn import functional as F

from models.colorizers import COLORIZERS, Colorizer, RegressionColorizer, TapColorizer
from models.vgg import VggTrunk
from training.config.section import RecipeError
from training.config.task_options import RegressionOptions
from training.data.batches import Batch, plain_batches
from training.loop.distributed import ProcessGroup
from training.loop.train_state import TrainState
from training.losses import channel_accuracy, encoded_truth
from training.networks.trunks import frozen_trunk
from training.tasks.base import SingleNetworkTask, TaskContext, build_network

PROBE = 256  # validation pictures on which loss and accuracy are measured


class RegressionTask(SingleNetworkTask[RegressionOptions]):
    """Trains one regression colorizer."""

    def __init__(self, options: RegressionOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.packs()
        torch.manual_seed(self.recipe.seed)
        self.network = _network(options, self.group)
        self.recipe.schedule.check_sizes(self.network.stride)
        self.train_state = TrainState(self.network, self.recipe.schedule, self.group)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.network.train()
        with self.train_state.autocast:
            predicted = self.network.predict(batch.L)
        truth = encoded_truth(self.network, predicted, batch.L, batch.ab)
        loss = F.mse_loss(predicted.float(), truth)
        self.train_state.update(loss, lr_factor)
        return {"loss": float(loss.detach()), "accuracy": float(channel_accuracy(predicted, truth))}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        network = cast(RegressionColorizer, self.colorizer())
        pack, losses, accuracies = self.val_pack.spread(PROBE), [], []
        for batch in plain_batches(pack, 64, self.recipe.schedule.validation_size, self.recipe.data.normalize_tones):
            batch = batch.to(self.group.device)
            with self.train_state.autocast:
                predicted = network.predict(batch.L).float()
            truth = encoded_truth(network, predicted, batch.L, batch.ab)
            losses.append(float(F.mse_loss(predicted, truth)) * len(truth))
            accuracies.append(float(channel_accuracy(predicted, truth)) * len(truth))
        return {**super().validate(), "val_loss": sum(losses) / len(pack), "val_accuracy": sum(accuracies) / len(pack)}

    def meta(self) -> dict[str, Any]:
        trunk = {"trunk": {"network": self.options.trunk, "weights": self.options.weights}}
        meta = {"family": self.options.family, "arguments": self.options.arguments, "category": self.context.category}
        return {**meta, **trunk} if isinstance(self.network, TapColorizer) else meta


def _network(options: RegressionOptions, group: ProcessGroup) -> RegressionColorizer:
    family = COLORIZERS.get(options.family, Colorizer)
    if not issubclass(family, RegressionColorizer):
        regression = ", ".join(name for name, family in COLORIZERS.items() if issubclass(family, RegressionColorizer))
        raise RecipeError(f"task.family is {options.family!r}, which does not predict ab by regression: give one of {regression}.")
    trunk: tuple[VggTrunk, ...] = ()
    if issubclass(family, TapColorizer):
        network = frozen_trunk(options.trunk, options.weights)
        trunk = (network.to(group.device, memory_format=torch.channels_last),)  # type: ignore[call-overload]
    return build_network(options.family, family, *trunk, **options.arguments)
