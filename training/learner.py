"""A network while it learns: its optimizer, its averaged weights, its precision, and all of it as a state to go on from."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.config import Schedule
from training.team import Team


class Learner:
    """A network with an optimizer, a moving average of its weights, and a precision: what all tasks train with.

    The average, where the schedule has one, is what is validated and kept; it costs a copy of the weights and brings steadier
    scores. `averaged` is false for what is neither.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, team: Team, averaged: bool = True) -> None:
        self.network = network.to(team.device, memory_format=torch.channels_last)
        self.average = None
        if averaged and schedule.average:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(schedule.average), use_buffers=True)
        self.schedule, self.team = schedule, team
        self.optimizer = _optimizer(schedule, [p for p in network.parameters() if p.requires_grad])
        self.autocast = torch.autocast(team.device.type, torch.bfloat16, enabled=schedule.precision == "bfloat16")

    def update(self, loss: Tensor, pace: float) -> None:
        """Backward, a step of the optimizer, and one of the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate * pace
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(self.network)
        if self.schedule.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def kept(self) -> nn.Module:
        """The network as it is validated and kept, ready for that: with its averaged weights, if there are any."""
        network: nn.Module = self.network if self.average is None else self.average.module
        return network.eval()

    def state(self, name: str = "") -> dict[str, Tensor]:
        """All tensors of network, average and optimizer, under `name`."""
        return {
            **{f"{name}network.{key}": value for key, value in self.network.state_dict().items()},
            **{f"{name}average.{key}": value for key, value in (self.average.state_dict() if self.average else {}).items()},
            **optimizer_state(self.optimizer, f"{name}optimizer."),
        }

    def load(self, state: dict[str, Tensor], name: str = "") -> None:
        """Take over what `state` gave."""
        self.network.load_state_dict(part(state, f"{name}network."))
        if self.average is not None:
            self.average.load_state_dict(part(state, f"{name}average."))
        load_optimizer_state(self.optimizer, part(state, f"{name}optimizer."))


def _optimizer(schedule: Schedule, parameters: list[nn.Parameter]) -> Optimizer:
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adadelta":
        return torch.optim.Adadelta(parameters, lr=rate, weight_decay=decay)
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, betas=schedule.betas, weight_decay=decay)


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def optimizer_state(optimizer: Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimizer's tensors by flat names, `PREFIX0.exp_avg` and so on."""
    moments = optimizer.state_dict()["state"]
    return {f"{prefix}{index}.{key}": value for index, values in moments.items() for key, value in values.items()}


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Tensor]) -> None:
    """Take over what `optimizer_state` gave; the hyperparameters stay those of the recipe."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
