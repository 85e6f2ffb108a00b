"""The adversarial loss of a colorizer, by a discriminator of patches of gray and color (Isola et al. 2017; paper 004)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.recipe import Schedule
from training.loop.distributed import ProcessGroup
from training.loop.train_state import TrainState
from training.networks.discriminator import PatchDiscriminator, initialize_weights


class AdversarialLoss:
    """A discriminator that is trained together with its generator, and discarded afterwards.

    Args:
        discriminator: whose weights are initialized here.
        schedule: of its optimizer.
        group: of processes.
    """

    def __init__(self, discriminator: PatchDiscriminator, schedule: Schedule, group: ProcessGroup) -> None:
        self.discriminator = discriminator.apply(initialize_weights)
        self.train_state = TrainState(discriminator, schedule, group, averaged=False)

    def update(self, L: Tensor, predicted: Tensor, truth: Tensor, lr_factor: float) -> tuple[Tensor, Tensor]:
        """Train the discriminator on lightness `(n,1,h,w)` in [0, 100], and predicted and true ab `(n,2,h,w)`, about -1 to 1.

        Returns the loss of the generator, and that of the discriminator (halved, without gradients).
        """
        self.discriminator.train()
        with self.train_state.autocast:
            true_logits = self.discriminator(L, truth).float()
            predicted_logits = self.discriminator(L, predicted.detach()).float()
        discriminator_loss = (_loss(true_logits, 1.0) + _loss(predicted_logits, 0.0)) / 2
        self.train_state.update(discriminator_loss, lr_factor)
        self.discriminator.requires_grad_(False)
        with self.train_state.autocast:
            logits = self.discriminator(L, predicted).float()
        self.discriminator.requires_grad_(True)
        return _loss(logits, 1.0), discriminator_loss.detach()


def _loss(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
