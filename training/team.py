"""The processes that train together: one by itself, or several that `torchrun` started, joined by Lightning Fabric.

Every process draws the same batch and takes its own rows of it, and gradients are averaged before each step of an optimizer: the
update is that of one process with the whole batch. Fabric's own wrapper around a network is not used, because it wants every loss
to come out of one `forward`, and a task here may own two networks and call parts of them; gradients travel in one flat message
instead. What differs from one process: batch norm sees only its own rows.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.runtime import Runtime
from training.config import RecipeError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from training.data.batches import Batch


@dataclass(frozen=True)
class Team:
    """Where this process trains, and who trains with it; process 0 validates and writes."""

    device: torch.device
    rank: int = 0
    size: int = 1
    fabric: "Fabric | None" = None

    def rows(self, batch: "Batch") -> "Batch":
        """The rows of a batch that are for this process.

        Raises:
            RecipeError: the batch cannot be dealt out evenly.
        """
        if len(batch.labels) % self.size:
            raise RecipeError(f"a batch of {len(batch.labels)} cannot be dealt to {self.size} processes: give a multiple.")
        return batch.pick(slice(self.rank, None, self.size))

    def average_gradients(self, network: nn.Module) -> None:
        """Make every gradient the mean over the processes."""
        if self.fabric is None:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        mean = self.fabric.all_reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), reduce_op="mean")
        assert isinstance(mean, Tensor)
        for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The means of numbers over the processes."""
        if self.fabric is None:
            return values
        found = self.fabric.all_reduce(torch.tensor(list(values.values()), dtype=torch.float64), reduce_op="mean")
        assert isinstance(found, Tensor)
        return dict(zip(values, found.tolist(), strict=True))

    def wait(self) -> None:
        """Until every process is here."""
        if self.fabric is not None:
            self.fabric.barrier()


def alone(device: str = "cpu") -> Team:
    """A team of one.

    Raises:
        OptionError: this torch cannot use the device.
    """
    return Team(torch.device(Runtime(device).device))


def gather(device: str = "cpu") -> Team:
    """The team that `torchrun` started this process in, or a team of one.

    Raises:
        OptionError: this torch cannot use the device.
    """
    single = alone(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return single
    from lightning_fabric import Fabric

    nodes = size // int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
    fabric = Fabric(accelerator=single.device.type, devices=size // nodes, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return Team(fabric.device, fabric.global_rank, fabric.world_size, fabric)
