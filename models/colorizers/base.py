"""The contracts of a colorizer, so that a bundle can mix families."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from models.ab_bins import AbBins
from models.vgg import Taps, VggTrunk


class Colorizer(nn.Module):
    """A network from lightness to chrominance. It normalizes its input inside; callers only see CIELAB units.

    Every colorizer is either a `RegressionColorizer` or a `BinColorizer`. Constructor arguments are plain values, which are stored
    on the checkpoint's card. Both sides of the input must be multiples of `stride`.
    """

    stride: int

    @abstractmethod
    def predict(self, L: Tensor) -> Tensor:
        """The output of the network `(n,c,h',w')`, before decoding, for lightness `(n,1,h,w)` in [0, 100]."""

    @abstractmethod
    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        """Chrominance ab `(n,2,h',w')` in CIELAB units of the output of `predict` for lightness `L`."""

    def forward(self, L: Tensor) -> Tensor:
        """Chrominance ab `(n,2,h',w')` in CIELAB units for lightness `(n,1,h,w)` in [0, 100].

        The output may be smaller than the input by a whole factor, because chroma needs less resolution than luma.
        """
        return self.decode(self.predict(L), L)

    def own_state(self) -> dict[str, Tensor]:
        """The tensors of the checkpoint: all tensors of the network except those of a shared trunk."""
        return self.state_dict()


class RegressionColorizer(Colorizer):
    """A colorizer that predicts chrominance itself, on a scale of its own, on which the papers also compute their losses.

    The default scale is `ab / ab_scale + ab_offset`.
    """

    ab_scale = 128.0
    ab_offset = 0.0

    def encode(self, ab: Tensor, L: Tensor) -> Tensor:
        """True ab `(n,2,h,w)` in CIELAB units on the scale of the network."""
        return ab / self.ab_scale + self.ab_offset

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        return (predicted.float() - self.ab_offset) * self.ab_scale


class BinColorizer(Colorizer):
    """A colorizer that predicts a distribution over ab bins: `predict` returns logits `(n,bins,h',w')`."""

    bins: AbBins
    temperature: float

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        return self.bins.annealed_mean(predicted.float(), self.temperature)


class HintedColorizer(Colorizer):
    """A colorizer whose input has the colors of some points, if they are known."""

    @abstractmethod
    def predict_with_hints(self, L: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
        """As `predict`, with ab `(n,2,h,w)` in CIELAB units where the mask `(n,1,h,w)` is 1; both are 0 elsewhere."""

    def predict(self, L: Tensor) -> Tensor:
        return self.predict_with_hints(L, L.new_zeros(1, 2, 1, 1) * L, torch.zeros_like(L))


class TapColorizer(Colorizer):
    """Mixin of colorizers that read the taps of a shared trunk, so that one trunk pass serves the router and every expert.

    The trunk has a checkpoint of its own. It is not a submodule: it is neither in `state_dict` nor moved by `to`.
    """

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__()
        self._trunk = (trunk,)  # in a tuple, so that torch does not register it as a submodule

    @property
    def trunk(self) -> VggTrunk:
        """The shared trunk."""
        return self._trunk[0]

    @abstractmethod
    def predict_from_taps(self, taps: Taps, L: Tensor) -> Tensor:
        """As `predict`, from the trunk's taps of `L`."""

    def predict(self, L: Tensor) -> Tensor:
        return self.predict_from_taps(self.trunk(L), L)

    def forward_from_taps(self, taps: Taps, L: Tensor) -> Tensor:
        """As `forward`, from the trunk's taps of `L`."""
        return self.decode(self.predict_from_taps(taps, L), L)
