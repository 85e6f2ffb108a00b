"""What the networks read of one picture. It is small, and can be sent to another process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from models.hints import hint_planes
from models.imaging import Picture
from models.lab import Float32Array
from models.luma import UInt8Array
from models.manifest import InputCard
from models.network_input import network_input
from models.options import Hint
from models.tones import normalized_tones

Key = tuple[int, int, bool, str]  # working size, stride, tones, fit


@dataclass
class PictureInputs:
    """Lightness at each working size, computed once, and hints.

    Args:
        shape: height and width of the picture.
        hints: in pixels of the picture.
        luma: of the picture; None if it was sent without it, and only has what was computed before.
    """

    shape: tuple[int, int]
    hints: tuple[Hint, ...] = ()
    luma: UInt8Array | None = None
    _lightness: dict[Key, Float32Array] = field(default_factory=dict)

    @classmethod
    def of(cls, picture: Picture, hints: Sequence[Hint] = ()) -> "PictureInputs":
        """The inputs of a picture."""
        return cls((picture.height, picture.width), tuple(hints), picture.luma)

    def lightness(self, card: InputCard, stride: int) -> Float32Array:
        """Lightness `(1,1,h,w)` in [0, 100] at the working size of a network, with sides that are multiples of its stride."""
        key = card.working_size, stride, card.normalize_tones, card.fit
        if key not in self._lightness:
            assert self.luma is not None
            L = network_input(self.luma, card.working_size, stride, card.fit == "square")
            self._lightness[key] = normalized_tones(L) if card.normalize_tones else L
        return self._lightness[key]

    def hint_planes(self, L: Float32Array) -> Float32Array | None:
        """The hints as networks read them beside this lightness, if there are any."""
        return hint_planes(self.hints, self.shape, (L.shape[2], L.shape[3])) if self.hints else None

    def without_luma(self, networks: Iterable[tuple[InputCard, int]]) -> "PictureInputs":
        """The inputs of these networks, given by card and stride, without the luma plane."""
        for card, stride in networks:
            self.lightness(card, stride)
        return PictureInputs(self.shape, self.hints, None, self._lightness)
