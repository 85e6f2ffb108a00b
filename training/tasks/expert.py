"""An expert: the general decoder of a joint run, fine-tuned on one category, its trunk frozen (paper 001's way, 003's purpose).

Most of a batch is of the category; the rest is anything, so that an expert stays sane on what is routed to it by mistake.
"""

from pathlib import Path
from typing import Any

import torch

from models.colorizers.vgg_expert import VggExpert
from models.vgg import STRIDE, VggTrunk
from training.checkpoints import load_state
from training.config import Expert, Recipe
from training.data.batches import Batch, training_batch
from training.data.packs import Pack
from training.learner import Learner, part
from training.losses import expert_loss, rebalancing_weights
from training.tasks.base import NetworkPainter
from training.team import Team


class ExpertTask(NetworkPainter):
    """Train one category's decoder; `base` is the best checkpoint of a joint run. The rest of a batch is of `all_`."""

    def __init__(self, recipe: Recipe, category: str, own: Pack, all_: Pack, val: Pack, base: Path, team: Team) -> None:
        assert isinstance(recipe.task, Expert)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.own_pack, self.all_pack, self.val_pack = own, all_, val
        tensors, meta = load_state(base)
        self.trunk = VggTrunk(meta["trunk"]).requires_grad_(False).eval()
        self.trunk.load_state_dict(part(tensors, "trunk."))
        self.trunk.to(team.device, memory_format=torch.channels_last)
        self.expert = VggExpert(self.trunk)
        self.expert.load_state_dict(part(tensors, "expert."))
        recipe.schedule.check_sizes(STRIDE)
        self.learner = Learner(self.expert, recipe.schedule, team)
        self.weights = rebalancing_weights(self.expert.bins, own, self.options.rebalance).to(team.device)

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
        self.learner.update(loss, pace)
        return {"painting": float(loss.detach())}

    def meta(self) -> dict[str, Any]:
        return {"family": "vgg_expert", "arguments": {}, "category": self.category}
