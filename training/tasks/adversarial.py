"""pix2pix: a U-Net generator against a PatchGAN that judges 70 x 70 patches of grey and colour together; paper 004.

Isola et al. 2017, section 3 and appendix 6.1: the generator's loss is adversarial + 100 L1, the discriminator's is halved, weights
begin as N(0, 0.02), Adam with beta1 0.5. What differs: ab instead of RGB.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.pix2pix import Pix2Pix
from training.config import Adversarial, Recipe
from training.data.batches import Batch, plain_batches
from training.data.packs import Pack
from training.learner import Learner
from training.tasks.base import NetworkPainter, built
from training.team import Team

WON = 0.02  # a discriminator loss below it leaves the generator nothing to learn from
PROBE = 256  # validation pictures that the spread is taken on
STILL = 0.15  # of the truth's spread of mean ab between pictures: below it all pictures get one colour


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512, then one value a patch: appendix 6.1.2, a receptive field of 70 x 70."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for factor, stride in ((2, 2), (4, 2), (8, 1)):
            layers += [
                nn.Conv2d(width * factor // 2, width * factor, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width * factor),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width * 8, 1, 4, padding=1))

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        """Logits `(n,1,h',w')`, high for patches that look true; ab is on the generator's scale, [-1, 1]."""
        return cast(Tensor, self.layers(torch.cat((L / 50 - 1, ab), dim=1)))


class AdversarialTask(NetworkPainter):
    """Train one generator, and its discriminator, which stays here."""

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, team: Team) -> None:
        assert isinstance(recipe.task, Adversarial)
        self.recipe, self.options, self.category, self.team = recipe, recipe.task, category, team
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.generator = built("pix2pix", Pix2Pix, **recipe.task.arguments).apply(_initialise)
        recipe.schedule.check_sizes(self.generator.stride)
        self.discriminator = PatchDiscriminator(recipe.task.discriminator_width).apply(_initialise)
        self.learner = Learner(self.generator, recipe.schedule, team)
        self.judge = Learner(self.discriminator, recipe.schedule, team, averaged=False)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.team.device)
        self.generator.train()
        self.discriminator.train()
        truth = self.generator.scaled(batch.L, batch.ab)
        with self.learner.autocast:
            painted = self.generator.predict(batch.L)
            true_verdict = self.discriminator(batch.L, truth).float()
            false_verdict = self.discriminator(batch.L, painted.detach()).float()
        judging = (_verdict_loss(true_verdict, 1.0) + _verdict_loss(false_verdict, 0.0)) / 2
        self.judge.update(judging, pace)

        self.discriminator.requires_grad_(False)
        with self.learner.autocast:
            verdict = self.discriminator(batch.L, painted).float()
        fooling = _verdict_loss(verdict, 1.0)
        distance = F.l1_loss(painted.float(), truth)
        self.learner.update(fooling + self.options.l1 * distance, pace)
        self.discriminator.requires_grad_(True)
        return {"fooling": float(fooling.detach()), "l1": float(distance.detach()), "judging": float(judging.detach())}

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
                f"the generator has collapsed or not begun: mean colours vary between pictures {row['spread']:.2f} times as much "
                "as in truth; train longer, or with another seed"
            )
        return found

    def meta(self) -> dict[str, Any]:
        return {"family": "pix2pix", "arguments": self.options.arguments, "category": self.category}

    def state(self) -> dict[str, Tensor]:
        return {**self.learner.state(), **self.judge.state("judge.")}

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)
        self.judge.load(state, "judge.")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _verdict_loss(logits: Tensor, truth: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
