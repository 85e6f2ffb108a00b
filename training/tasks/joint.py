"""Naming and painting at once: the trunk, the general expert and the router head of a bundle.

Paper 000's idea (a classification loss beside the color loss makes objects evenly colorized) with paper 002's loss over ab bins.
What differs from 000: one trunk instead of two branches, and both losses reach all of it. Every few steps a batch of Tiny ImageNet
pictures comes instead, for breadth: it is painted as well, and named by a second head, which is thrown away afterwards.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.colorizers.vgg_expert import VggExpert
from models.vgg import STRIDE, VggTrunk
from training.checkpoints import load_state
from training.config import Joint, Recipe, RecipeError
from training.data.batches import Batch, training_batch
from training.data.packs import Pack
from training.evaluation.naming import NamingTally
from training.learner import Learner
from training.losses import expert_loss, rebalancing_weights
from training.tasks.base import Painter
from training.team import Team

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
    """Train a `JointNetwork`; the pack's last category is *general*. `start` is the best checkpoint of the run to go on from.

    Raises:
        RecipeError: that run has another trunk or other categories, or stages are frozen that nothing has trained.
        CheckpointError: there is no such run.
    """

    def __init__(self, recipe: Recipe, train: Pack, val: Pack, tiny: Pack | None, start: Path | None, team: Team) -> None:
        assert isinstance(recipe.task, Joint)
        self.recipe, self.options, self.team = recipe, recipe.task, team
        self.train_pack, self.val_pack, self.tiny_pack = train, val, tiny
        torch.manual_seed(recipe.seed)
        self.network = JointNetwork(recipe.task.trunk, train.categories[:-1], len(tiny.categories) if tiny else 0)
        if start is not None:
            _go_on_from(start, self.network)
        elif recipe.task.frozen:
            raise RecipeError(f"task.frozen is {recipe.task.frozen}, and nothing has trained these stages: give task.start.")
        self.frozen = self.network.trunk.stages(recipe.task.frozen).requires_grad_(False)
        recipe.schedule.check_sizes(STRIDE)
        self.learner = Learner(self.network, recipe.schedule, team)
        self.weights = rebalancing_weights(self.network.expert.bins, train, recipe.task.rebalance).to(team.device)

    def draw(self, step: int) -> Batch:
        schedule, data, every = self.recipe.schedule, self.recipe.data, self.recipe.data.tiny_every
        earlier = step // every if self.tiny_pack and every else 0  # tiny batches before this step
        if self.tiny_pack and every and step % every == every - 1:
            tiny = training_batch(self.tiny_pack, earlier, schedule.batch, data.tiny_size, self.recipe.seed + 1, data)
            return replace(tiny, tiny=True)
        return training_batch(self.train_pack, step - earlier, schedule.batch, schedule.size_at(step), self.recipe.seed, data)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.network.train()
        self.frozen.eval()  # with the statistics that its weights were trained with
        head, share = self.network.head, self.options.naming
        if batch.tiny:
            head, share = self.network.tiny_head, self.options.tiny_naming
        with self.learner.autocast:
            taps = self.network.trunk(batch.L.contiguous(memory_format=torch.channels_last))
            painting = expert_loss(self.network.expert, taps, batch.ab, self.weights, self.options.read_out)
            naming = F.cross_entropy(head.logits(taps).float(), batch.labels, label_smoothing=self.options.label_smoothing)
        self.learner.update(painting + share * naming, pace)
        kind = "tiny_" if batch.tiny else ""
        return {f"{kind}painting": float(painting.detach()), f"{kind}naming": float(naming.detach())}

    def validate(self) -> dict[str, Any]:
        network, tally = self._averaged(), NamingTally(self.train_pack.categories)
        with torch.no_grad(), self.learner.autocast:
            for batch in self.validation():
                tally.add(network.head.logits(network.trunk(batch.L)).float(), batch.labels)
        painted, named = super().validate(), tally.scores()
        return {**painted, **named, "score": painted["psnr_gain"] + 10 * named["top1"]}

    def paint(self, L: Tensor) -> Tensor:
        with self.learner.autocast:
            return cast(Tensor, self._averaged().expert(L))

    def result(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._averaged().state_dict().items() if not name.startswith("tiny_head.")}

    def meta(self) -> dict[str, Any]:
        return {"trunk": self.options.trunk, "categories": self.train_pack.categories}

    def _averaged(self) -> JointNetwork:
        return cast(JointNetwork, self.learner.kept())


def _go_on_from(checkpoint: Path, network: JointNetwork) -> None:
    tensors, _ = load_state(checkpoint)
    try:
        missing = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise RecipeError(f"{checkpoint.parent} has another trunk or other categories than this recipe: {error}") from error
    if missing.unexpected_keys or any(not name.startswith("tiny_head.") for name in missing.missing_keys):
        raise RecipeError(f"{checkpoint.parent} is not a run of the task `joint`: go on from one that is.")
