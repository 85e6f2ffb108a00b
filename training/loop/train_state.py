"""A network during training: optimizer, averaged weights and precision, and all of it as a state that can be resumed."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.config.recipe import Schedule
from training.loop.distributed import ProcessGroup
from training.networks.state_dicts import select_prefix


class TrainState:
    """A network with an optimizer, a moving average of its weights, and a precision.

    The average, if the schedule has one, is what is validated and kept: it costs a copy of the weights, and its scores vary less.

    Args:
        network: to be trained.
        schedule: of the recipe.
        group: of processes.
        averaged: whether to keep a moving average; false for networks that are neither validated nor kept.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, group: ProcessGroup, averaged: bool = True) -> None:
        self.network = network.to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = None
        if averaged and schedule.ema_decay:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
        self.schedule, self.group = schedule, group
        self.optimizer = _optimizer(schedule, [p for p in network.parameters() if p.requires_grad])
        self.autocast = torch.autocast(group.device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16")

    def update(self, loss: Tensor, lr_factor: float) -> None:
        """Compute gradients, and update the weights and their average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate * lr_factor
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.group.average_gradients(self.network)
        if self.schedule.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def evaluated(self) -> nn.Module:
        """The network that is validated and kept, in evaluation mode: with averaged weights, if there are any."""
        network: nn.Module = self.network if self.average is None else self.average.module
        return network.eval()

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """All tensors of network, average and optimizer, with a prefix."""
        return {
            **{f"{prefix}network.{key}": value for key, value in self.network.state_dict().items()},
            **{f"{prefix}average.{key}": value for key, value in (self.average.state_dict() if self.average else {}).items()},
            **_optimizer_state(self.optimizer, f"{prefix}optimizer."),
        }

    def load(self, state: dict[str, Tensor], prefix: str = "") -> None:
        """Restore what `state` returned."""
        self.network.load_state_dict(select_prefix(state, f"{prefix}network."))
        if self.average is not None:
            self.average.load_state_dict(select_prefix(state, f"{prefix}average."))
        _load_optimizer_state(self.optimizer, select_prefix(state, f"{prefix}optimizer."))


def _optimizer(schedule: Schedule, parameters: list[nn.Parameter]) -> Optimizer:
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adadelta":
        return torch.optim.Adadelta(parameters, lr=rate, weight_decay=decay)
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, betas=schedule.betas, weight_decay=decay)


def _optimizer_state(optimizer: Optimizer, prefix: str) -> dict[str, Tensor]:
    """The tensors of an optimizer by flat names: `PREFIX0.exp_avg` and so on."""
    moments = optimizer.state_dict()["state"]
    return {f"{prefix}{index}.{key}": value for index, values in moments.items() for key, value in values.items()}


def _load_optimizer_state(optimizer: Optimizer, state: dict[str, Tensor]) -> None:
    """Restore what `_optimizer_state` returned; hyperparameters are those of the recipe."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
