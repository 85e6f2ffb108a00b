"""The networks of a bundle with inputs and outputs in a fixed order, as those who trace them need."""

from torch import Tensor, nn

from models.bundle import Bundle
from models.classifiers import Classifier
from models.colorizers import Colorizer, HintedColorizer, TapColorizer
from models.vgg import Taps, VggTrunk


class _RecordedTaps(dict[int, Tensor]):
    """Taps that know which of them were read."""

    def __init__(self, taps: Taps) -> None:
        super().__init__(taps)
        self.used: set[int] = set()

    def __getitem__(self, stride: int) -> Tensor:
        self.used.add(stride)
        return super().__getitem__(stride)


class TrunkWithClassifier(nn.Module):
    """A trunk with outputs in a fixed order: some taps, then the probabilities of a classifier."""

    def __init__(self, trunk: VggTrunk, strides: list[int], classifier: Classifier | None) -> None:
        super().__init__()
        self.trunk, self.strides, self.classifier = trunk, strides, classifier

    def forward(self, L: Tensor) -> tuple[Tensor, ...]:
        taps = self.trunk(L)
        outputs = [taps[stride] for stride in self.strides]
        return tuple(outputs if self.classifier is None else [*outputs, self.classifier(taps)])


class ExpertOfTaps(nn.Module):
    """An expert with inputs in a fixed order: lightness, then taps."""

    def __init__(self, network: Colorizer, strides: list[int]) -> None:
        super().__init__()
        self.network, self.strides = network, strides

    def forward(self, L: Tensor, *taps: Tensor) -> Tensor:
        return self.network.decode(self.predict(L, *taps), L)

    def predict(self, L: Tensor, *taps: Tensor) -> Tensor:
        """As `Colorizer.predict`."""
        assert isinstance(self.network, TapColorizer)
        return self.network.predict_from_taps(dict(zip(self.strides, taps, strict=True)), L)


class ExpertWithLogits(nn.Module):
    """An expert that predicts a distribution, with two outputs: ab and the logits."""

    def __init__(self, expert: Colorizer | ExpertOfTaps) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, L: Tensor, *taps: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.expert.predict(L, *taps)
        network = self.expert.network if isinstance(self.expert, ExpertOfTaps) else self.expert
        return network.decode(logits, L), logits


class ExpertWithHints(nn.Module):
    """An expert with inputs in a fixed order: lightness, then ab and mask of hints."""

    def __init__(self, network: HintedColorizer) -> None:
        super().__init__()
        self.network = network

    def forward(self, L: Tensor, hints: Tensor) -> Tensor:
        return self.network.decode(self.network.predict_with_hints(L, hints[:, :2], hints[:, 2:]), L)


def strides_that_are_read(bundle: Bundle, trunk: str, taps: Taps, L: Tensor) -> list[int]:
    """The strides of those taps of a trunk that any of its experts reads."""
    recorded = _RecordedTaps(taps)
    for name, card in bundle.manifest.experts.items():
        if card.trunk == trunk:
            expert = bundle.experts[name]
            assert isinstance(expert, TapColorizer)
            expert.forward_from_taps(recorded, L)
    return sorted(recorded.used)
