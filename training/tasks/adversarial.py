"""pix2pix: a U-Net generator against a PatchGAN that judges 70 x 70 patches of gray and color together; paper 004.

Isola et al. 2017, section 3 and appendix 6.1: the generator's loss is adversarial + 100 L1, the discriminator's is halved, weights
begin as N(0, 0.02), Adam with beta1 0.5. What differs: ab instead of RGB.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers.pix2pix import Pix2Pix
from training.config import Adversarial, Recipe
from training.data.batches import Batch, plain_batches
from training.data.packs import Pack
from training.learner import Learner
from training.tasks.adversary import Adversary, PatchDiscriminator, initialize
from training.tasks.base import NetworkPainter, built
from training.team import Team

WON = 0.02  # a discriminator loss below it leaves the generator nothing to learn from
PROBE = 256  # validation pictures that the spread is taken on
STILL = 0.15  # of the truth's spread of mean ab between pictures: below it all pictures get one color


class AdversarialTask(NetworkPainter):
    """Train one generator, and its discriminator, which stays here."""

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, team: Team) -> None:
        assert isinstance(recipe.task, Adversarial)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.generator = built("pix2pix", Pix2Pix, **recipe.task.arguments).apply(initialize)
        recipe.schedule.check_sizes(self.generator.stride)
        self.adversary = Adversary(PatchDiscriminator(recipe.task.discriminator_width), recipe.schedule, team)
        self.learner = Learner(self.generator, recipe.schedule, team)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.generator.train()
        truth = self.generator.scaled(batch.L, batch.ab)
        with self.learner.autocast:
            painted = self.generator.predict(batch.L)
        fooling, judging = self.adversary.meet(batch.L, painted, truth, pace)
        distance = F.l1_loss(painted.float(), truth)
        self.learner.update(fooling + self.options.l1 * distance, pace)
        return {"fooling": float(fooling.detach()), "l1": float(distance.detach()), "judging": float(judging)}

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        painted, true = [], []
        for batch in plain_batches(self.val_pack.spread(PROBE), 32, self.recipe.schedule.validation_size):
            painted.append(self.paint(batch.L.to(self.team.device)).float().mean(dim=(2, 3)).cpu())
            true.append(batch.ab.mean(dim=(2, 3)))
        scores = super().validate()
        if len(torch.cat(true)) < 2:  # one picture has no spread
            return scores
        spread = torch.cat(painted).std(dim=0).mean() / torch.cat(true).std(dim=0).mean().clamp(min=1e-6)
        return {**scores, "spread": float(spread)}

    def concerns(self, row: dict[str, Any]) -> list[str]:
        found = []
        if row.get("judging", 1.0) < WON:
            found.append(
                f"the discriminator has won (its loss is {row['judging']:.4f}): the generator learns little from it now; "
                "lower the learning rate, or raise task.l1"
            )
        if row.get("spread", 1.0) < STILL:
            found.append(
                f"the generator has collapsed or not begun: mean colors vary between pictures {row['spread']:.2f} times as much "
                "as in truth; train longer, or with another seed"
            )
        return found

    def meta(self) -> dict[str, Any]:
        return {"family": "pix2pix", "arguments": self.options.arguments, "category": self.category}

    def state(self) -> dict[str, Tensor]:
        return {**self.learner.state(), **self.adversary.learner.state("judge.")}

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)
        self.adversary.learner.load(state, "judge.")
