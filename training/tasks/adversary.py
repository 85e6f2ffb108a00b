"""The adversary of a painter: a PatchGAN that judges patches of gray and color together (Isola et al. 2017; paper 004)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import Schedule
from training.learner import Learner
from training.team import Team


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512, then one value a patch: appendix 6.1.2, patches of 70 x 70. With `stages` 1 they are of 16 x 16."""

    def __init__(self, width: int = 64, stages: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for stage in range(stages):
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride=2 if stage < stages - 1 else 1, padding=1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.LeakyReLU(0.2),
            ]
            width *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, L: Tensor, ab: Tensor) -> Tensor:
        """Logits `(n,1,h',w')`, high for patches that look true; ab is about [-1, 1]."""
        return cast(Tensor, self.layers(torch.cat((L / 50 - 1, ab), dim=1)))


class Adversary:
    """A discriminator that learns while its painter does, and is thrown away afterwards. Weights begin as N(0, 0.02)."""

    def __init__(self, discriminator: PatchDiscriminator, schedule: Schedule, team: Team) -> None:
        self.discriminator = discriminator.apply(initialize)
        self.learner = Learner(discriminator, schedule, team, averaged=False)

    def meet(self, L: Tensor, painted: Tensor, truth: Tensor, pace: float) -> tuple[Tensor, Tensor]:
        """Learn from painted and true ab; the painter's loss, which is low where it fooled, and the discriminator's, halved."""
        self.discriminator.train()
        with self.learner.autocast:
            true_verdict = self.discriminator(L, truth).float()
            false_verdict = self.discriminator(L, painted.detach()).float()
        judging = (_verdict_loss(true_verdict, 1.0) + _verdict_loss(false_verdict, 0.0)) / 2
        self.learner.update(judging, pace)
        self.discriminator.requires_grad_(False)
        with self.learner.autocast:
            verdict = self.discriminator(L, painted).float()
        self.discriminator.requires_grad_(True)
        return _verdict_loss(verdict, 1.0), judging.detach()


def initialize(module: nn.Module) -> None:
    """Isola et al. 2017, appendix 6.2."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def _verdict_loss(logits: Tensor, truth: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
