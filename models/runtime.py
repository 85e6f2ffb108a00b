"""How a network is run: device and precision, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from models.errors import OptionError

Precision = Literal["float32", "bfloat16"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Runs networks with torch. bfloat16 halves the time where the processor has it, and costs about a level of chroma.

    Raises:
        OptionError: this torch has no such device, or there is no such precision.
    """

    device: str = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise OptionError("precision", self.precision, get_args(Precision))
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # torch raises either for a device that it cannot use
            raise OptionError("device", self.device, "a device that this torch can use, cpu always") from error

    def place(self, network: Network) -> Network:
        """The network on the device, in the memory layout that convolutions are fastest in."""
        network.to(device=self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def put(self, L: Tensor) -> Tensor:
        """Lightness `(n,1,h,w)` where the networks are."""
        return L.to(self.device).contiguous(memory_format=torch.channels_last)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Without gradients, in the precision."""
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            yield
