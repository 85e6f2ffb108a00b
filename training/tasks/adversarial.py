"""pix2pix: a U-Net generator against a PatchGAN discriminator of patches of 70 x 70, on gray and color together; paper 004.

Isola et al. 2017, section 3 and appendix 6.1: the generator's loss is adversarial + 100 L1, the discriminator's is halved, weights
are initialized with N(0, 0.02), Adam has a beta1 of 0.5. What differs: ab instead of RGB.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers.pix2pix import Pix2Pix
from training.config.task_options import AdversarialOptions
from training.data.batches import Batch, plain_batches
from training.loop.train_state import TrainState
from training.networks.discriminator import PatchDiscriminator, initialize_weights
from training.tasks.adversarial_loss import AdversarialLoss
from training.tasks.base import SingleNetworkTask, TaskContext, build_network

MIN_DISCRIMINATOR_LOSS = 0.02  # below it the generator gets no useful gradient
PROBE = 256  # validation pictures on which the spread is measured
COLLAPSED = 0.15  # spread of the mean ab between pictures over that of the truth, below which all pictures get one color


class AdversarialTask(SingleNetworkTask[AdversarialOptions]):
    """Trains a generator and its discriminator; only the generator is kept."""

    def __init__(self, options: AdversarialOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.packs()
        torch.manual_seed(self.recipe.seed)
        self.generator = build_network("pix2pix", Pix2Pix, **options.arguments).apply(initialize_weights)
        self.recipe.schedule.check_sizes(self.generator.stride)
        discriminator = PatchDiscriminator(options.discriminator_width)
        self.adversarial_loss = AdversarialLoss(discriminator, self.recipe.schedule, self.group)
        self.train_state = TrainState(self.generator, self.recipe.schedule, self.group)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.generator.train()
        truth = self.generator.encode(batch.ab, batch.L)
        with self.train_state.autocast:
            predicted = self.generator.predict(batch.L)
        generator_loss, discriminator_loss = self.adversarial_loss.update(batch.L, predicted, truth, lr_factor)
        l1 = F.l1_loss(predicted.float(), truth)
        self.train_state.update(generator_loss + self.options.l1_weight * l1, lr_factor)
        return {
            "generator_loss": float(generator_loss.detach()),
            "l1": float(l1.detach()),
            "discriminator_loss": float(discriminator_loss),
        }

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        predicted, true = [], []
        size, normalize_tones = self.recipe.schedule.validation_size, self.recipe.data.normalize_tones
        for batch in plain_batches(self.val_pack.spread(PROBE), 32, size, normalize_tones):
            predicted.append(self.predict(batch.L.to(self.group.device)).float().mean(dim=(2, 3)).cpu())
            true.append(batch.ab.mean(dim=(2, 3)))
        scores = super().validate()
        if len(torch.cat(true)) < 2:  # one picture has no spread
            return scores
        spread = torch.cat(predicted).std(dim=0).mean() / torch.cat(true).std(dim=0).mean().clamp(min=1e-6)
        return {**scores, "spread": float(spread)}

    def warnings(self, row: dict[str, Any]) -> list[str]:
        messages = []
        if row.get("discriminator_loss", 1.0) < MIN_DISCRIMINATOR_LOSS:
            messages.append(
                f"the discriminator is too strong (its loss is {row['discriminator_loss']:.4f}), so that the generator gets almost "
                "no gradient: lower the learning rate, or raise task.l1_weight"
            )
        if row.get("spread", 1.0) < COLLAPSED:
            messages.append(
                f"the generator has collapsed or learned nothing yet: the mean colors vary {row['spread']:.2f} times as "
                "much as in truth; train longer, or with another seed"
            )
        return messages

    def meta(self) -> dict[str, Any]:
        return {"family": "pix2pix", "arguments": self.options.arguments, "category": self.context.category}

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), **self.adversarial_loss.train_state.state("discriminator.")}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.adversarial_loss.train_state.load(state, "discriminator.")
