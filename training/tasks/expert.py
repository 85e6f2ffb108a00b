"""An expert: the general decoder of a joint run, fine-tuned on one category, its trunk frozen (paper 001's way, 003's purpose).

Most of a batch is of the category; the rest is anything, so that an expert stays sane on what is routed to it by mistake.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers.vgg_expert import VggExpert
from models.errors import CheckpointError
from models.vgg import STRIDE, VggTrunk
from training.checkpoints import file_digest, load_state
from training.config import Expert, Recipe
from training.data.batches import Batch, training_batch
from training.data.packs import Pack
from training.learner import Learner, part
from training.losses import expert_loss, rebalancing_weights
from training.tasks.adversary import Adversary, PatchDiscriminator
from training.tasks.base import NetworkPainter
from training.team import Team

JUDGED = 24  # pictures of a batch that the adversary sees: it needs the color of every place, which the other losses thin out
SCALE = 60  # of ab before the adversary


class ExpertTask(NetworkPainter):
    """Train one category's decoder; `base` is the best checkpoint of a joint run, `start` that of a decoder to go on from.

    The rest of a batch is of `all_`.

    Raises:
        CheckpointError: there is no such run, or `start` was fine-tuned from another base.
    """

    def __init__(
        self, recipe: Recipe, category: str, own: Pack, all_: Pack, val: Pack, base: Path, start: Path | None, team: Team
    ) -> None:
        assert isinstance(recipe.task, Expert)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.own_pack, self.all_pack, self.val_pack = own, all_, val
        tensors, meta = load_state(base)
        self.trunk = VggTrunk(meta["trunk"]).requires_grad_(False).eval()
        self.trunk.load_state_dict(part(tensors, "trunk."))
        self.trunk.to(team.device, memory_format=torch.channels_last)
        self.expert = VggExpert(self.trunk)
        self.expert.load_state_dict(part(tensors, "expert.") if start is None else _decoder(start, base))
        recipe.schedule.check_sizes(STRIDE)
        self.learner = Learner(self.expert, recipe.schedule, team)
        self.weights = rebalancing_weights(self.expert.bins, own, self.options.rebalance).to(team.device)
        self.adversary = None
        if self.options.adversary:
            torch.manual_seed(recipe.seed)
            gentle = recipe.schedule.model_copy(update={"betas": (0.5, 0.999)})
            self.adversary = Adversary(PatchDiscriminator(stages=1), gentle, team)

    def draw(self, step: int) -> Batch:
        schedule, seed = self.recipe.schedule, self.recipe.seed
        count = round(schedule.batch * self.options.own_share)
        size, data = schedule.size_at(step), self.recipe.data
        own = training_batch(self.own_pack, step, count, size, seed, data)
        if count == schedule.batch:
            return own
        other = training_batch(self.all_pack, step, schedule.batch - count, size, seed + 1, data)
        both = (torch.cat(pair) for pair in ((own.L, other.L), (own.ab, other.ab), (own.labels, other.labels)))
        return Batch(*both)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.expert.train()
        with self.learner.autocast:
            with torch.no_grad():
                taps = self.trunk(batch.L.contiguous(memory_format=torch.channels_last))
            loss = expert_loss(self.expert, taps, batch.ab, self.weights, self.options.read_out)
        losses = {"painting": float(loss.detach())}
        if self.adversary is not None:
            L, ab = batch.L[:JUDGED], batch.ab[:JUDGED]
            with self.learner.autocast:
                painted = self.expert.decode({stride: tap[:JUDGED] for stride, tap in taps.items()}, L)
            fooling, judging = self.adversary.meet(F.avg_pool2d(L, 4), painted / SCALE, F.avg_pool2d(ab, 4) / SCALE, pace / 2)
            losses |= {"fooling": float(fooling.detach()), "judging": float(judging)}
            loss = loss + self.options.adversary * fooling
        self.learner.update(loss, pace)
        return losses

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **(self.adversary.learner.state("judge.") if self.adversary else {})}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        if self.adversary:
            self.adversary.learner.load(state, "judge.")

    def meta(self) -> dict[str, Any]:
        return {"family": "vgg_expert", "arguments": {}, "category": self.category}


def _decoder(start: Path, base: Path) -> dict[str, Tensor]:
    tensors, meta = load_state(start)
    if meta["origin"].get("base") != file_digest(base):
        raise CheckpointError(f"{start.parent} was fine-tuned from another {base.parent.name}: train it again with --restart.")
    return part(tensors, "expert.")
