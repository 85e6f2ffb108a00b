"""Colorization and classification by one network: squared error plus cross-entropy / 200; paper 000, sections 3.1 and 3.3.

The cross-entropy reaches the classification branch, the global features below it and the low-level features, but neither the
mid-level features nor the color decoder. A test checks the gradients.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers import Colorizer
from models.colorizers.iizuka import Build, ClassificationBranch, Iizuka
from training.config.task_options import CombinedOptions
from training.data.batches import Batch
from training.loop.train_state import TrainState
from training.losses import encoded_truth
from training.metrics.classification import ClassificationMetrics
from training.tasks.base import SingleNetworkTask, TaskContext, build_network


class CombinedNetwork(nn.Module):
    """The colorizer with its classification branch."""

    def __init__(self, size: int, build: Build, classes: int) -> None:
        super().__init__()
        self.expert = Iizuka(size, build)
        self.branch = ClassificationBranch(classes, build)

    def forward(self, L: Tensor) -> tuple[Tensor, Tensor]:
        """Ab on the scale of the network, and logits `(n,classes)`."""
        predicted, features = self.expert.predict_with_features(L)
        return predicted, self.branch(features)


class CombinedTask(SingleNetworkTask[CombinedOptions]):
    """Trains a `CombinedNetwork` on all categories."""

    is_per_category: ClassVar[bool] = False

    def __init__(self, options: CombinedOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.datasets.labeled
        torch.manual_seed(self.recipe.seed)
        classes = len(self.train_pack.categories)
        self.network = build_network("iizuka", CombinedNetwork, options.size, options.build, classes)
        self.recipe.schedule.check_sizes(Iizuka.stride)
        self.train_state = TrainState(self.network, self.recipe.schedule, self.group)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.network.train()
        with self.train_state.autocast:
            predicted, logits = self.network(batch.L)
        color_loss = F.mse_loss(predicted.float(), encoded_truth(self.network.expert, predicted, batch.L, batch.ab))
        class_loss = F.cross_entropy(logits.float(), batch.labels)
        self.train_state.update(color_loss + self.options.classification_weight * class_loss, lr_factor)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        return {"color_loss": float(color_loss.detach()), "class_loss": float(class_loss.detach()), "accuracy": float(accuracy)}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        network, metrics, losses = self._network(), ClassificationMetrics(self.train_pack.categories), []
        for batch in self.validation_batches():
            with self.train_state.autocast:
                predicted, logits = network(batch.L)
            truth = encoded_truth(network.expert, predicted, batch.L, batch.ab)
            losses.append(float(F.mse_loss(predicted.float(), truth)) * len(truth))
            metrics.update(logits, batch.labels)
        return {**super().validate(), "val_color_loss": sum(losses) / len(self.validation_pack()), **metrics.compute()}

    def colorizer(self) -> Colorizer:
        return self._network().expert

    def result(self) -> dict[str, Tensor]:
        branch = self._network().branch.state_dict()
        return {**super().result(), **{f"branch.{name}": tensor for name, tensor in branch.items()}}

    def meta(self) -> dict[str, Any]:
        arguments = {"size": self.options.size, "build": self.options.build}
        return {"family": "iizuka", "arguments": arguments, "category": "general", "categories": self.train_pack.categories}

    def _network(self) -> CombinedNetwork:
        return cast(CombinedNetwork, self.train_state.evaluated())
