"""An expert: the general decoder of a joint run, fine-tuned on one category with a frozen trunk (papers 001 and 003).

Most of a batch is of the category; the rest is of all categories, which regularizes against misrouted pictures.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers.vgg_expert import VggExpert
from models.errors import CheckpointError
from models.vgg import STRIDE, VggTrunk
from training.config.recipe import Recipe
from training.config.section import RecipeError
from training.config.task_options import ExpertOptions
from training.data.batches import Batch, training_batch
from training.loop.checkpoints import file_digest, load_state
from training.loop.run_folder import BEST
from training.loop.train_state import TrainState
from training.losses import expert_loss, rebalancing_weights
from training.networks.discriminator import PatchDiscriminator
from training.networks.state_dicts import select_prefix
from training.tasks.adversarial_loss import AdversarialLoss
from training.tasks.base import SingleNetworkTask, TaskContext
from training.tasks.partial import freeze_others

ADVERSARIAL_PICTURES = 24  # of a batch, because the discriminator reads all positions, of which the other losses use a quarter
AB_SCALE = 60  # divides ab for the discriminator


class ExpertTask(SingleNetworkTask[ExpertOptions]):
    """Trains the decoder of one category."""

    def __init__(self, options: ExpertOptions, context: TaskContext) -> None:
        super().__init__(options, context)
        self.train_pack, self.val_pack = context.packs()
        self.all_pack = context.datasets.train
        base, decoder = context.runs / options.base / BEST, initial_decoder(self.recipe, context.category, context.runs)
        tensors, meta = load_state(base)
        if meta["normalize_tones"] != self.recipe.data.normalize_tones:
            raise RecipeError(f"data.normalize_tones of {options.base} is {meta['normalize_tones']}: set the same.")
        self.trunk = VggTrunk(meta["trunk"]).requires_grad_(False).eval()
        self.trunk.load_state_dict(select_prefix(tensors, "trunk."))
        self.trunk.to(self.group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.decoder = meta["decoder"]
        self.expert = VggExpert(self.trunk, **self.decoder)
        self.expert.load_state_dict(select_prefix(tensors, "expert.") if decoder is None else _load_decoder(decoder, base))
        self.frozen = freeze_others(self.expert, options.parts)
        self.recipe.schedule.check_sizes(STRIDE)
        self.train_state = TrainState(self.expert, self.recipe.schedule, self.group)
        self.weights = rebalancing_weights(self.expert.bins, self.train_pack, options.rebalance).to(self.group.device)
        self.adversarial_loss = None
        if options.adversarial_weight:
            torch.manual_seed(self.recipe.seed)
            schedule = self.recipe.schedule.model_copy(update={"betas": (0.5, 0.999)})
            self.adversarial_loss = AdversarialLoss(PatchDiscriminator(stages=1), schedule, self.group)

    def draw(self, step: int) -> Batch:
        schedule, seed, data = self.recipe.schedule, self.recipe.seed, self.recipe.data
        count, size = round(schedule.batch * self.options.category_share), schedule.size_at(step)
        own = training_batch(self.train_pack, step, count, size, seed, data)
        if count == schedule.batch:
            return own
        other = training_batch(self.all_pack, step, schedule.batch - count, size, seed + 1, data)
        return own.concat(other)

    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        batch = batch.to(self.group.device)
        self.expert.train()
        self.frozen.eval()  # with the running statistics of its batch norm
        with self.train_state.autocast:
            with torch.no_grad():
                taps = self.trunk(batch.L.contiguous(memory_format=torch.channels_last))
            loss = expert_loss(self.expert, taps, batch.L, batch.ab, self.weights, self.options.readout)
        losses = {"color_loss": float(loss.detach())}
        if self.adversarial_loss is not None:
            L, ab = batch.L[:ADVERSARIAL_PICTURES], batch.ab[:ADVERSARIAL_PICTURES]
            with self.train_state.autocast:
                predicted = self.expert.forward_from_taps({stride: tap[:ADVERSARIAL_PICTURES] for stride, tap in taps.items()}, L)
            generator_loss, discriminator_loss = self.adversarial_loss.update(
                F.avg_pool2d(L, 4), predicted / AB_SCALE, F.avg_pool2d(ab, 4) / AB_SCALE, lr_factor / 2
            )
            losses |= {"generator_loss": float(generator_loss.detach()), "discriminator_loss": float(discriminator_loss)}
            loss = loss + self.options.adversarial_weight * generator_loss
        self.train_state.update(loss, lr_factor)
        return losses

    def state(self) -> dict[str, Tensor]:
        discriminator = self.adversarial_loss.train_state.state("discriminator.") if self.adversarial_loss else {}
        return {**super().state(), **discriminator}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        if self.adversarial_loss:
            self.adversarial_loss.train_state.load(state, "discriminator.")

    def meta(self) -> dict[str, Any]:
        return {"family": "vgg_expert", "arguments": self.decoder, "category": self.context.category}


def initial_decoder(recipe: Recipe, category: str, runs: Path) -> Path | None:
    """The checkpoint of the decoder that an expert continues from, if it is not that of its base."""
    if not isinstance(recipe.task, ExpertOptions) or not recipe.task.init_from:
        return None
    return runs / recipe.task.init_from / (category if recipe.per_category else "") / BEST


def _load_decoder(checkpoint: Path, base: Path) -> dict[str, Tensor]:
    tensors, meta = load_state(checkpoint)
    if meta["origin"].get("base") != file_digest(base):
        raise CheckpointError(f"{checkpoint.parent} was fine-tuned from another {base.parent.name}: train it again with --restart.")
    return select_prefix(tensors, "expert.")
