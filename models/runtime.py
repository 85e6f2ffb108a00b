"""The device and the precision that networks run with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from models.errors import OptionError
from models.lab import Float32Array

TorchPrecision = Literal["float32", "bfloat16"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Runs networks with torch. bfloat16 halves the time on processors that support it, and changes chroma by about one level.

    Args:
        device: of torch: cpu, cuda, mps.
        precision: of the networks.
        threads: of torch in this process, if it is not 0.

    Raises:
        OptionError: torch cannot use the device, or the precision is unknown.
    """

    device: str = "cpu"
    precision: TorchPrecision = "float32"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.precision not in get_args(TorchPrecision):
            raise OptionError("precision", self.precision, get_args(TorchPrecision))
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # torch raises either for a device that it cannot use
            raise OptionError("device", self.device, "a device that this installation of torch supports, such as cpu") from error

    def place(self, network: Network) -> Network:
        """The network on the device, in the memory layout in which convolutions are fastest."""
        network.to(device=self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def tensor(self, L: Float32Array) -> Tensor:
        """Lightness `(n,1,h,w)` on the device of the networks."""
        return torch.from_numpy(L).to(self.device).contiguous(memory_format=torch.channels_last)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Context without gradients, in the precision of this runtime."""
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            yield
