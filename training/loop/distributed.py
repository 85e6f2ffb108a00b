"""Data-parallel training: one process, or several that `torchrun` started, with `torch.distributed`.

Every process draws the same batch and takes its own rows, and gradients are averaged before each optimizer step, so that an update
is that of one process with the whole batch. DistributedDataParallel is not used, because it expects every loss to come from one
`forward`, while a task may own two networks and call parts of them. What differs from one process: batch norm only sees its own
rows.
"""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from models.runtime import Runtime
from training.config.section import RecipeError
from training.data.batches import Batch


@dataclass(frozen=True)
class ProcessGroup:
    """The device, the rank of this process, and the number of processes; process 0 validates and writes files."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process validates and writes files."""
        return self.rank == 0

    def rows(self, batch: Batch) -> Batch:
        """The rows of a batch that are for this process.

        Raises:
            RecipeError: the batch cannot be divided evenly.
        """
        if len(batch.labels) % self.size:
            raise RecipeError(f"a batch of {len(batch.labels)} cannot be divided among {self.size} processes: give a multiple.")
        return batch.pick(slice(self.rank, None, self.size))

    def average_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        mean = self._mean(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(mean, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The means of numbers over the processes."""
        if self.size == 1:
            return values
        mean = self._mean(torch.tensor(list(values.values()), dtype=torch.float64, device=self.device))
        return dict(zip(values, mean.tolist(), strict=True))

    def barrier(self) -> None:
        """Wait until every process calls this."""
        if self.size > 1:
            distributed.barrier()

    def _mean(self, tensor: Tensor) -> Tensor:
        distributed.all_reduce(tensor)
        return tensor / self.size


def single_process(device: str = "cpu") -> ProcessGroup:
    """The group of one process.

    Raises:
        OptionError: torch cannot use the device.
    """
    return ProcessGroup(torch.device(Runtime(device).device))


def init_distributed(device: str = "cpu") -> ProcessGroup:
    """The group of the processes that `torchrun` started, or of one process.

    Raises:
        OptionError: torch cannot use the device.
    """
    single = single_process(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return single
    own_device = single.device
    if own_device.type == "cuda":
        own_device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own_device)
    distributed.init_process_group("nccl" if own_device.type == "cuda" else "gloo")
    return ProcessGroup(own_device, distributed.get_rank(), distributed.get_world_size())
