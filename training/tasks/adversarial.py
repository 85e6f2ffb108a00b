"""pix2pix: a U-Net generator against a PatchGAN that judges 70 x 70 patches of grey and colour together; paper 004.

Isola et al. 2017, section 3 and appendix 6.1: the generator's loss is adversarial + 100 L1, the discriminator's is halved, weights
begin as N(0, 0.02), Adam with beta1 0.5. What differs: ab instead of RGB, and a moving average of the generator is what is kept.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.colorizers.pix2pix import AB_SCALE, Pix2Pix
from training.config import Adversarial, Recipe
from training.data.batches import Batch
from training.data.packs import Pack
from training.tasks.base import Learner, NetworkPainter

BETAS = (0.5, 0.999)


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
        """Logits `(n,1,h',w')`, high for patches that look true."""
        return cast(Tensor, self.layers(torch.cat((L / 50 - 1, ab / AB_SCALE), dim=1)))


class AdversarialTask(NetworkPainter):
    """Train one generator, and its discriminator, which stays here."""

    def __init__(self, recipe: Recipe, category: str, train: Pack, val: Pack, device: torch.device) -> None:
        assert isinstance(recipe.task, Adversarial)
        self.recipe, self.options, self.category, self.device = recipe, recipe.task, category, device
        self.train_pack, self.val_pack = train, val
        torch.manual_seed(recipe.seed)
        self.generator = Pix2Pix(**recipe.task.arguments).apply(_initialise)
        recipe.schedule.check_sizes(self.generator.stride)
        self.discriminator = PatchDiscriminator(recipe.task.discriminator_width).apply(_initialise)
        self.learner = Learner(self.generator, recipe.schedule, device, BETAS)
        self.judge = Learner(self.discriminator, recipe.schedule, device, BETAS)

    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        batch = batch.to(self.device)
        self.generator.train()
        self.discriminator.train()
        with self.learner.autocast:
            painted = self.generator(batch.L)
            true_verdict = self.discriminator(batch.L, batch.ab).float()
            false_verdict = self.discriminator(batch.L, painted.detach()).float()
        judging = (_verdict_loss(true_verdict, 1.0) + _verdict_loss(false_verdict, 0.0)) / 2
        self.judge.update(judging, pace)

        self.discriminator.requires_grad_(False)
        with self.learner.autocast:
            verdict = self.discriminator(batch.L, painted).float()
        fooling = _verdict_loss(verdict, 1.0)
        distance = F.l1_loss(painted.float(), batch.ab) / AB_SCALE
        self.learner.update(fooling + self.options.l1 * distance, pace)
        self.discriminator.requires_grad_(True)
        return {"fooling": float(fooling.detach()), "l1": float(distance.detach()), "judging": float(judging.detach())}

    def meta(self) -> dict[str, Any]:
        return {"family": "pix2pix", "arguments": self.options.arguments, "category": self.category}

    def state(self) -> dict[str, Tensor]:
        return {**self.learner.state(), **self.judge.state("judge.")}

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)
        self.judge.load(state, "judge.")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _verdict_loss(logits: Tensor, truth: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
