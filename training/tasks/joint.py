"""Joint training of the trunk, the general expert and the router head of a bundle, for classification and colorization.

Paper 000's idea (a classification loss beside the color loss makes objects evenly colored) with paper 002's loss over ab bins. What
differs from 000: one trunk instead of two branches, and both losses reach all of it. A second head, which is discarded afterwards,
classifies the kinds that the categories consist of; every few steps a batch of Tiny ImageNet adds breadth.
"""

from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.colorizers.vgg_expert import VggExpert
from models.vgg import STRIDE, VggTrunk
from training.config.section import RecipeError
from training.config.task_options import JointOptions
from training.data.batches import Batch, training_batch
from training.data.packs import NO_LABEL
from training.loop.checkpoints import load_state
from training.loop.train_state import TrainState
from training.losses import expert_loss, rebalancing_weights
from training.metrics.classification import ClassificationMetrics
from training.tasks.base import ColorizationTask, TaskContext, build_network
from training.tasks.partial import freeze_others


class JointNetwork(nn.Module):
    """A trunk with a colorizer, a classifier of categories, and a classifier of the kinds that they consist of."""

    def __init__(self, trunk: str, decoder: dict[str, Any], categories: tuple[str, ...], kinds: int) -> None:
        super().__init__()
        self.trunk = VggTrunk(trunk)
        self.expert = VggExpert(self.trunk, **decoder)
        self.head = HeadClassifier(self.trunk.channels, categories)
        self.kind_head = HeadClassifier(self.trunk.channels, [str(index) for index in range(kinds - 1)])


class JointTask(ColorizationTask[JointOptions]):
    """Trains a `JointNetwork`; the last category of the datasets is *general*."""

    is_per_category: ClassVar[bool] = False

    def __init__(self, options: JointOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        datasets, tiny = context.datasets, context.datasets.tiny
        self.train_pack, self.val_pack, self.tiny_pack = datasets.train, datasets.val, tiny
        torch.manual_seed(self.recipe.seed)
        self.decoder = {"widths": options.widths, "heads": options.heads}
        self.network = build_network(
            "the joint network", JointNetwork, options.trunk, self.decoder, self.train_pack.categories[:-1], len(datasets.kinds)
        )  # fmt: skip
        if context.earlier_checkpoint is not None:
            _load_initial_weights(context.earlier_checkpoint, self.network)
        elif options.frozen_stages:
            raise RecipeError(f"task.frozen_stages is {options.frozen_stages}, and these stages are untrained: set task.init_from.")
        elif options.parts:
            raise RecipeError(f"task.parts is {', '.join(options.parts)}, and the other parts are untrained: set task.init_from.")
        others = freeze_others(self.network, options.parts)
        self.frozen = nn.ModuleList((others, self.network.trunk.stages(options.frozen_stages).requires_grad_(False)))
        self.trains_color = any(parameter.requires_grad for parameter in self.network.expert.parameters())
        self.recipe.schedule.check_sizes(STRIDE)
        self.train_state = TrainState(self.network, self.recipe.schedule, self.group)
        self.weights = rebalancing_weights(self.network.expert.bins, self.train_pack, options.rebalance).to(self.group.device)

    def draw(self, step: int) -> Batch:
        schedule, data, interval = self.recipe.schedule, self.recipe.data, self.recipe.data.tiny_interval
        tiny_steps = step // interval if self.tiny_pack and interval else 0  # before this step
        if self.tiny_pack and interval and step % interval == interval - 1:
            return training_batch(self.tiny_pack, tiny_steps, schedule.batch, data.tiny_size, self.recipe.seed + 1, data)
        return training_batch(self.train_pack, step - tiny_steps, schedule.batch, schedule.size_at(step), self.recipe.seed, data)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.network.train()
        self.frozen.eval()  # with the running statistics of its batch norm
        options, network = self.options, self.network
        with self.train_state.autocast:
            taps = network.trunk(batch.L.contiguous(memory_format=torch.channels_last))
            color_loss = batch.L.new_zeros(())
            if self.trains_color:
                color_loss = expert_loss(network.expert, taps, batch.L, batch.ab, self.weights, options.readout)
            class_loss = self._class_loss(network.head.logits(taps), batch.labels)
            kind_loss = self._class_loss(network.kind_head.logits(taps), batch.kinds)
        self.train_state.update(
            color_loss + options.classification_weight * class_loss + options.kind_weight * kind_loss, lr_factor
        )
        losses = {"color_loss": color_loss, "class_loss": class_loss, "kind_loss": kind_loss}
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def validate(self) -> dict[str, Any]:
        network, metrics = self._network(), ClassificationMetrics(self.train_pack.categories)
        with torch.no_grad(), self.train_state.autocast:
            for batch in self.validation_batches():
                metrics.update(network.head.logits(network.trunk(batch.L)), batch.labels)
        color_scores, class_scores = super().validate(), metrics.compute()
        return {**color_scores, **class_scores, "score": color_scores["psnr_gain"] + 10 * class_scores["top1"]}

    def predict(self, L: Tensor) -> Tensor:
        with self.train_state.autocast:
            return cast(Tensor, self._network().expert(L))

    def result(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._network().state_dict().items() if not name.startswith("kind_head.")}

    def meta(self) -> dict[str, Any]:
        tones = self.recipe.data.normalize_tones
        categories = self.train_pack.categories
        return {"trunk": self.options.trunk, "decoder": self.decoder, "categories": categories, "normalize_tones": tones}

    def _class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy over all pictures, to which those without a label add nothing."""
        smoothing = self.options.label_smoothing
        total = F.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL, label_smoothing=smoothing, reduction="sum")
        return total / len(labels)

    def _network(self) -> JointNetwork:
        return cast(JointNetwork, self.train_state.evaluated())


def _load_initial_weights(checkpoint: Path, network: JointNetwork) -> None:
    tensors, _ = load_state(checkpoint)
    try:
        keys = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise RecipeError(f"{checkpoint.parent} has another trunk or other categories than this recipe: {error}") from error
    if keys.unexpected_keys or any(not name.startswith("kind_head.") for name in keys.missing_keys):
        raise RecipeError(f"{checkpoint.parent} is not a run of the task `joint`: set task.init_from to one that is.")
