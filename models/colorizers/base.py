"""What every colorizer promises, so that a bundle may mix families."""

from abc import abstractmethod

from torch import Tensor, nn

from models.vgg import Taps, VggTrunk


class Colorizer(nn.Module):
    """Lightness in, chrominance out; the network normalises inside, and nothing outside it knows how.

    `stride` divides both sides of the pictures that it accepts. The arguments of the constructor are plain values, kept on the
    checkpoint's card; `own_state` is what the checkpoint holds.
    """

    stride: int

    @abstractmethod
    def forward(self, L: Tensor) -> Tensor:
        """Chrominance ab `(n,2,h',w')` in CIELAB units for lightness `(n,1,h,w)` in [0, 100].

        The answer may be smaller than the question by a whole factor: chroma needs less resolution than luma.
        """

    def own_state(self) -> dict[str, Tensor]:
        """The tensors of the checkpoint: all of the network's, except those of a trunk that it shares."""
        return self.state_dict()


class TapColorizer(Colorizer):
    """A colorizer that reads the taps of a shared trunk, so that one trunk pass serves the router and every expert.

    The trunk is an argument and not a part: it has a checkpoint of its own, and is left out of this one's.
    """

    def __init__(self, trunk: VggTrunk) -> None:
        super().__init__()
        self._shared = (trunk,)  # in a tuple, so that torch does not adopt it as a submodule

    @property
    def trunk(self) -> VggTrunk:
        """The shared trunk."""
        return self._shared[0]

    @abstractmethod
    def decode(self, taps: Taps, L: Tensor) -> Tensor:
        """Chrominance ab `(n,2,h',w')` in CIELAB units from the trunk's taps of a picture, and its lightness."""

    def forward(self, L: Tensor) -> Tensor:
        return self.decode(self.trunk(L), L)


class Regressor(Colorizer):
    """A colorizer that predicts chrominance itself, on a scale of its own; the papers take their losses on that scale.

    The scale is `ab / ab_scale + ab_offset`, unless a family says otherwise.
    """

    ab_scale = 128.0
    ab_offset = 0.0

    @abstractmethod
    def predict(self, L: Tensor) -> Tensor:
        """Chrominance `(n,2,h',w')` on the family's scale, for lightness `(n,1,h,w)` in [0, 100]."""

    def scaled(self, L: Tensor, ab: Tensor) -> Tensor:
        """True ab `(n,2,h,w)` in CIELAB units on the family's scale."""
        return ab / self.ab_scale + self.ab_offset

    def unscaled(self, L: Tensor, predicted: Tensor) -> Tensor:
        """What `predict` gave, in CIELAB units."""
        return (predicted.float() - self.ab_offset) * self.ab_scale

    def forward(self, L: Tensor) -> Tensor:
        return self.unscaled(L, self.predict(L))


class TapRegressor(TapColorizer, Regressor):
    """A regressor on a trunk's taps."""

    @abstractmethod
    def read(self, taps: Taps, L: Tensor) -> Tensor:
        """As `predict`, from the taps."""

    def predict(self, L: Tensor) -> Tensor:
        return self.read(self.trunk(L), L)

    def decode(self, taps: Taps, L: Tensor) -> Tensor:
        return self.unscaled(L, self.read(taps, L))
