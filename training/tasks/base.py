"""What the loop asks of a task: it owns its networks, losses, optimisers and backward."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.colorizers import Colorizer
from training.config import Recipe, Schedule
from training.data.batches import Batch, plain_batches, training_batch
from training.data.packs import Pack
from training.evaluation.validation import colour_scores, sample_sheet


class Task(ABC):
    """One thing to train. `draw` is a pure function of the step; everything that changes is in `state`."""

    @abstractmethod
    def draw(self, step: int) -> Batch:
        """The batch of a step."""

    @abstractmethod
    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        """One update, with the learning rate times `pace`; returns the losses."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Scores on the validation pictures; `score` is the one that decides which checkpoint is best."""

    @abstractmethod
    def sheet(self) -> bytes:
        """A PNG of validation pictures: grey, coloured, true."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """The tensors worth keeping."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Plain values that belong with `result`: whatever builds the network again."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that is needed to go on."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`."""


class Painter(Task):
    """A task whose answer is colour: scored and shown by what it paints on the validation pictures."""

    recipe: Recipe
    device: torch.device
    val_pack: Pack
    learner: "Learner"

    @abstractmethod
    def paint(self, L: Tensor) -> Tensor:
        """Ab of lightness, by the averaged weights."""

    def validate(self) -> dict[str, float]:
        scores = colour_scores(self.paint, self.validation())
        return {"score": -scores["delta_e"], **scores}

    def sheet(self) -> bytes:
        batch = next(plain_batches(self.val_pack.spread(12), 12, self.recipe.schedule.validation_size))
        return sample_sheet(self.paint, batch.to(self.device))

    def validation(self) -> Iterator[Batch]:
        """Every validation picture once."""
        for batch in plain_batches(self.val_pack, 64, self.recipe.schedule.validation_size):
            yield batch.to(self.device)

    def state(self) -> dict[str, Tensor]:
        return self.learner.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)


class NetworkPainter(Painter):
    """A painter that is one network, of its own pack of pictures, and reads nothing but L."""

    train_pack: Pack

    def draw(self, step: int) -> Batch:
        schedule = self.recipe.schedule
        return training_batch(self.train_pack, step, schedule.batch, schedule.size_at(step), self.recipe.seed)

    def paint(self, L: Tensor) -> Tensor:
        with self.learner.autocast:
            ab: Tensor = self.averaged()(L)
        return ab

    def result(self) -> dict[str, Tensor]:
        return {f"expert.{name}": tensor for name, tensor in self.averaged().own_state().items()}

    def averaged(self) -> Colorizer:
        """The network with its averaged weights, as it is validated and kept."""
        return cast(Colorizer, self.learner.average.module).eval()


class Learner:
    """A network with AdamW, a moving average of its weights, and a precision: what all tasks train with.

    The average is what is validated and kept; it costs a copy of the weights and brings steadier scores. Gradients are clipped to
    a norm of 5.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, device: torch.device, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(schedule.average), use_buffers=True)
        self.rate = schedule.learning_rate
        self.optimiser = torch.optim.AdamW(
            [p for p in network.parameters() if p.requires_grad], lr=self.rate, betas=betas, weight_decay=schedule.weight_decay
        )
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16")

    def update(self, loss: Tensor, pace: float) -> None:
        """Backward, a step of the optimiser, and one of the average."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * pace
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)

    def state(self, name: str = "") -> dict[str, Tensor]:
        """All tensors of network, average and optimiser, under `name`."""
        return {
            **{f"{name}network.{key}": value for key, value in self.network.state_dict().items()},
            **{f"{name}average.{key}": value for key, value in self.average.state_dict().items()},
            **optimiser_state(self.optimiser, f"{name}optimiser."),
        }

    def load(self, state: dict[str, Tensor], name: str = "") -> None:
        """Take over what `state` gave."""
        self.network.load_state_dict(part(state, f"{name}network."))
        self.average.load_state_dict(part(state, f"{name}average."))
        load_optimiser_state(self.optimiser, part(state, f"{name}optimiser."))


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def optimiser_state(optimiser: Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimiser's tensors by flat names, `PREFIX0.exp_avg` and so on."""
    moments = optimiser.state_dict()["state"]
    return {f"{prefix}{index}.{key}": value for index, values in moments.items() for key, value in values.items()}


def load_optimiser_state(optimiser: Optimizer, state: dict[str, Tensor]) -> None:
    """Take over what `optimiser_state` gave; the hyperparameters stay those of the recipe."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
