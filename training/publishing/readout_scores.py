"""Scores of a network with each readout on validation pictures: its error and its colorfulness."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models.colorizers import Colorizer
from models.colorizers.vgg_expert import VggExpert
from models.lab import lab_to_srgb
from training.data.batches import Batch
from training.losses import delta_e94
from training.metrics.color import colorfulness

TEMPERATURES = (0.38, 0.55, 0.75, 1.0)  # lower ones reduce ΔE a little, but also PSNR: wrong colors become vivid
MUTES = (0.0, 0.1, 0.2, 0.4)
SATURATIONS = tuple(step / 20 for step in range(18, 33))  # 0.9 to 1.6


@dataclass(frozen=True)
class Readout:
    """How the distribution of an expert is decoded; the names are the arguments of `VggExpert`."""

    temperature: float
    mute: float
    saturation: float


READOUTS = tuple(Readout(*values) for values in product(TEMPERATURES, MUTES, SATURATIONS))


@dataclass(frozen=True)
class ReadoutScores:
    """The scores of a network with each of its readouts, given as constructor arguments: all `READOUTS`, or just one.

    `errors` (mean ΔE94) and `colorfulness` are `(readouts, n)`, and `truth` is the colorfulness `(n,)` of the pictures themselves.
    """

    readouts: tuple[dict[str, Any], ...]
    errors: Tensor
    colorfulness: Tensor
    truth: Tensor

    def of_pictures(self, mask: Tensor) -> "ReadoutScores":
        """The scores of some of the pictures, by a mask `(n,)`."""
        return ReadoutScores(self.readouts, self.errors[:, mask], self.colorfulness[:, mask], self.truth[mask])

    @property
    def lowest_errors(self) -> Tensor:
        """The errors `(n,)` with the readout that has the lowest mean error."""
        return self.errors[self.errors.mean(dim=1).argmin()]

    def cheapest(self, price: float, max_error: float) -> tuple[float, int] | None:
        """The lowest cost (mean error minus `price` times colorfulness) and the index of its readout.

        Only readouts whose mean error is at most `max_error` are considered; None if there are none.
        """
        error = self.errors.mean(dim=1)
        cost = (error - price * self.colorfulness.mean(dim=1)).masked_fill(error > max_error, float("inf"))
        index = int(cost.argmin())
        return (float(cost[index]), index) if error[index] <= max_error else None


@torch.no_grad()
def score_readouts(network: Colorizer, arguments: dict[str, Any], batches: Iterable[Batch]) -> ReadoutScores:
    """Score a network with all its readouts, in addition to its `arguments`; one without a choice of readouts just with these."""
    readouts = tuple(arguments | asdict(readout) for readout in READOUTS) if isinstance(network, VggExpert) else (arguments,)
    errors, predicted_colorfulness, true_colorfulness = [], [], []
    for batch in batches:
        L, truth = F.avg_pool2d(batch.L, 4), F.avg_pool2d(batch.ab, 4)  # at the resolution of the predictions
        predictions = list(_all_readouts(network, batch.L)) if isinstance(network, VggExpert) else [_quarter_ab(network, batch.L)]
        errors.append(torch.stack([delta_e94(ab, truth).mean(dim=(1, 2)).cpu() for ab in predictions]))
        predicted_colorfulness.append(torch.stack([_colorfulness(L, ab) for ab in predictions]))
        true_colorfulness.append(_colorfulness(L, truth))
    return ReadoutScores(
        readouts, torch.cat(errors, dim=1), torch.cat(predicted_colorfulness, dim=1), torch.cat(true_colorfulness)
    )  # fmt: skip


def _all_readouts(network: VggExpert, L: Tensor) -> Iterator[Tensor]:
    logits = network.predict(L).float()
    means = {temperature: network.bins.annealed_mean(logits, temperature) for temperature in TEMPERATURES}
    certainties = {mute: network.bins.certainty(logits, mute) for mute in MUTES}
    for readout in READOUTS:
        yield readout.saturation * certainties[readout.mute] * means[readout.temperature]


def _quarter_ab(network: Colorizer, L: Tensor) -> Tensor:
    """Ab `(n,2,s/4,s/4)` that a network predicts for L `(n,1,s,s)`."""
    height, width = L.shape[-2:]
    return F.interpolate(network(L).float(), (height // 4, width // 4), mode="bilinear")


def _colorfulness(L: Tensor, ab: Tensor) -> Tensor:
    return colorfulness(lab_to_srgb(torch.cat((L, ab), dim=1))).cpu()
