"""Does color help to name a picture? A classifier of colorized pictures on gray, colorized, annealed and true ones; paper 002.

The paper's table, over as many pictures as one likes: for each way of colorizing, how often the classifier names the picture rightly
and how sure it is of the true class.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers.zhang import Zhang
from training.data.batches import Batch
from training.evaluation.namers import TrainedNamer, load_namer
from training.trained import Trained


@dataclass(frozen=True)
class Judge(TrainedNamer):
    """A finished naming run that reads color."""

    @torch.no_grad()
    def probabilities(self, L: Tensor, ab: Tensor) -> Tensor:
        """Of each class `(n,classes)`, for lightness and chrominance at any resolution."""
        ab = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
        found: Tensor = self.network(L, ab).float().softmax(dim=1)
        return found


@dataclass
class Verdicts:
    """Of one way of colorizing: the named class and the probabilities of named and true class, of every picture."""

    named: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    truth: list[float] = field(default_factory=list)

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Note some pictures."""
        best = probabilities.max(dim=1)
        self.named += best.indices.tolist()
        self.confidence += best.values.tolist()
        self.truth += probabilities.gather(1, labels[:, None])[:, 0].tolist()


@dataclass(frozen=True)
class Judgment:
    """Verdicts by way of colorizing, on pictures with these labels into `categories`."""

    categories: tuple[str, ...]
    labels: list[int]
    ways: dict[str, Verdicts]

    def rows(self) -> dict[str, dict[str, float]]:
        """Accuracy, its gain over gray, and the mean confidence in the true class, by way."""
        accuracy = {way: _share(named == label for named, label in zip(found.named, self.labels, strict=True))
                    for way, found in self.ways.items()}  # fmt: skip
        return {
            way: {"accuracy": accuracy[way], "gain": accuracy[way] - accuracy["gray"], "confidence": _share(found.truth)}
            for way, found in self.ways.items()
        }


def load_judge(folder: Path, device: torch.device) -> Judge:
    """The classifier of a finished run that names colorized pictures; errors as for `load_namer`."""
    namer = load_namer(folder, device, "color")
    return Judge(namer.network, namer.categories, namer.meta)


@torch.no_grad()
def judge(judge: Judge, painters: Mapping[str, Trained], batches: Iterable[Batch], temperatures: tuple[float, ...]) -> Judgment:
    """Have pictures judged in gray, colorized by each painter, and in truth.

    Of a painter over ab bins (paper 002's) the colors are read out at each of the `temperatures` of the annealed mean.
    """
    labels: list[int] = []
    ways: dict[str, Verdicts] = {}
    for batch in batches:
        labels += batch.labels.tolist()
        colors = {"gray": torch.zeros_like(batch.ab)}
        for name, painter in painters.items():
            network = painter.network
            if not isinstance(network, Zhang) or network.bins is None:
                colors[name] = network(batch.L)
                continue
            logits = network.predict(batch.L)
            for temperature in temperatures:
                way = "mean" if temperature == 1 else f"annealed T {temperature:g}"
                colors[f"{name}, {way}"] = network.bins.annealed_mean(logits, temperature)
        for way, ab in {**colors, "truth": batch.ab}.items():
            ways.setdefault(way, Verdicts()).add(judge.probabilities(batch.L, ab), batch.labels)
    return Judgment(judge.categories, labels, ways)


def _share(values: Iterable[float]) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found)
