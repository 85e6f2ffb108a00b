"""Naming and painting at once: the trunk, the general expert and the router head of a bundle.

Paper 000's idea (a classification loss beside the colour loss makes objects evenly coloured) with paper 002's loss over ab bins.
What differs from 000: one trunk instead of two branches, and both losses reach all of it. Every few steps a batch of Tiny ImageNet
pictures comes instead, for breadth: it is painted as well, and named by a second head, which is thrown away afterwards.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.colorizers.vgg_expert import VggExpert
from models.vgg import STRIDE, VggTrunk
from training.config import Joint, Recipe
from training.data.batches import Batch, training_batch
from training.data.packs import Pack
from training.losses import expert_loss, rebalancing_weights
from training.tasks.base import Learner, Painter

TINY_SIZE = 64  # the side of Tiny ImageNet's pictures


class JointNetwork(nn.Module):
    """A trunk with a painter, a namer, and a second namer for the pictures of `tiny`."""

    def __init__(self, trunk: str, categories: tuple[str, ...], tiny_classes: int) -> None:
        super().__init__()
        self.trunk = VggTrunk(trunk)
        self.expert = VggExpert(self.trunk)
        self.head = HeadClassifier(self.trunk.channels, categories)
        self.tiny_head = HeadClassifier(self.trunk.channels, [str(index) for index in range(max(tiny_classes, 1) - 1)])


class JointTask(Painter):
    """Train a `JointNetwork`; the pack's last category is *general*."""

    def __init__(self, recipe: Recipe, train: Pack, val: Pack, tiny: Pack | None, device: torch.device) -> None:
        assert isinstance(recipe.task, Joint)
        self.recipe, self.options, self.device = recipe, recipe.task, device
        self.train_pack, self.val_pack, self.tiny_pack = train, val, tiny
        torch.manual_seed(recipe.seed)
        self.network = JointNetwork(recipe.task.trunk, train.categories[:-1], len(tiny.categories) if tiny else 0)
        recipe.schedule.check_sizes(STRIDE)
        self.learner = Learner(self.network, recipe.schedule, device)
        self.weights = rebalancing_weights(self.network.expert.bins, train, recipe.task.rebalance).to(device)

    def draw(self, step: int) -> Batch:
        schedule, every = self.recipe.schedule, self.recipe.data.tiny_every
        earlier = step // every if self.tiny_pack and every else 0  # tiny batches before this step
        if self.tiny_pack and every and step % every == every - 1:
            batch = training_batch(self.tiny_pack, earlier, schedule.batch, TINY_SIZE, self.recipe.seed + 1)
            return replace(batch, tiny=True)
        return training_batch(self.train_pack, step - earlier, schedule.batch, schedule.size_at(step), self.recipe.seed)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.device)
        self.network.train()
        head, share = self.network.head, self.options.naming
        if batch.tiny:
            head, share = self.network.tiny_head, self.options.tiny_naming
        with self.learner.autocast:
            taps = self.network.trunk(batch.L.contiguous(memory_format=torch.channels_last))
            painting = expert_loss(self.network.expert, taps, batch.ab, self.weights)
            naming = F.cross_entropy(head.logits(taps).float(), batch.labels, label_smoothing=self.options.label_smoothing)
        self.learner.update(painting + share * naming, pace)
        kind = "tiny_" if batch.tiny else ""
        return {f"{kind}painting": float(painting.detach()), f"{kind}naming": float(naming.detach())}

    def validate(self) -> dict[str, float]:
        network, hits = self._averaged(), {1: 0, 3: 0}
        with torch.no_grad(), self.learner.autocast:
            for batch in self.validation():
                probabilities = network.head(network.trunk(batch.L))
                ranked = probabilities.topk(min(3, probabilities.shape[1])).indices
                for k in hits:
                    hits[k] += int((ranked[:, :k] == batch.labels[:, None]).any(dim=1).sum())
        named = {f"top{k}": count / len(self.val_pack) for k, count in hits.items()}
        painted = super().validate()
        return {**painted, **named, "score": painted["psnr_gain"] + 10 * named["top1"]}

    def paint(self, L: Tensor) -> Tensor:
        with self.learner.autocast:
            return cast(Tensor, self._averaged().expert(L))

    def result(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._averaged().state_dict().items() if not name.startswith("tiny_head.")}

    def meta(self) -> dict[str, Any]:
        return {"trunk": self.options.trunk, "categories": self.train_pack.categories}

    def _averaged(self) -> JointNetwork:
        network = cast(JointNetwork, self.learner.average.module)
        return network.eval()
