"""Classification by cross-entropy: paper 003's router, paper 000's branch alone, and the judge of paper 002."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.task_options import ClassificationOptions
from training.data.batches import Batch
from training.loop.train_state import TrainState
from training.metrics.classification import ClassificationMetrics
from training.metrics.validation import classified_grid
from training.networks.classifiers import build_classifier
from training.tasks.base import Task, TaskContext


class ClassificationTask(Task[ClassificationOptions]):
    """Trains a classifier of the categories of the datasets."""

    is_per_category: ClassVar[bool] = False

    def __init__(self, options: ClassificationOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.datasets.labeled
        torch.manual_seed(self.recipe.seed)
        self.network = build_classifier(options, len(self.train_pack.categories))
        self.train_state = TrainState(self.network, self.recipe.schedule, self.group)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.network.train()
        with self.train_state.autocast:
            logits = self.network(batch.L, batch.ab).float()
        loss = F.cross_entropy(logits, batch.labels)
        self.train_state.update(loss, lr_factor)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        return {"class_loss": float(loss.detach()), "accuracy": float(accuracy)}

    def validate(self) -> dict[str, Any]:
        metrics = ClassificationMetrics(self.train_pack.categories)
        for batch in self.validation_batches():
            metrics.update(self._logits(batch), batch.labels)
        scores = metrics.compute()
        return {"score": scores["top1"], **scores}

    def sample_grid(self) -> bytes:
        batch = self.sample_batch()
        probabilities = self._logits(batch).softmax(dim=1).cpu()
        return classified_grid(batch, probabilities, self.train_pack.categories, self.options.input == "color")

    def result(self) -> dict[str, Tensor]:
        return dict(self.train_state.evaluated().state_dict())

    def meta(self) -> dict[str, Any]:
        options = self.options.model_dump(mode="json", exclude={"kind", "frozen"})
        return {"classifier": options, "categories": self.train_pack.categories}

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        with self.train_state.autocast:
            logits: Tensor = self.train_state.evaluated()(batch.L, batch.ab)
        return logits.float()
