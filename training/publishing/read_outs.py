"""What comes of each way to serve a network: how far from the truth, and how colorful, it paints validation pictures."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from models import chroma
from models.colorizers import Colorizer
from models.colorizers.vgg_expert import VggExpert
from models.lab import lab_to_srgb
from training.data.batches import Batch
from training.evaluation.metrics import colorfulness
from training.losses import delta_e94

TEMPERATURES = (0.38, 0.55, 0.75, 1.0)  # below the published 0.38 ΔE still falls a little, and PSNR much: borders, and loud errors
MUTES = (0.0, 0.1, 0.2, 0.4)
SATURATIONS = tuple(step / 20 for step in range(18, 33))  # 0.9 to 1.6


@dataclass(frozen=True)
class ReadOut:
    """How an expert's distribution is read out; the names are `VggExpert`'s arguments."""

    temperature: float
    mute: float
    saturation: float


READ_OUTS = tuple(ReadOut(*values) for values in product(TEMPERATURES, MUTES, SATURATIONS))


@dataclass(frozen=True)
class Tried:
    """A network's pictures in each of the ways that it could be served, as its arguments: all of `READ_OUTS`, or just one.

    `errors` (mean ΔE94) and `colorfulness` are `(ways, n)`, and `truth` is the colorfulness `(n,)` of the pictures themselves.
    """

    ways: tuple[dict[str, Any], ...]
    errors: Tensor
    colorfulness: Tensor
    truth: Tensor

    def of(self, chosen: Tensor) -> "Tried":
        """The same for some of the pictures, by a mask `(n,)`."""
        return Tried(self.ways, self.errors[:, chosen], self.colorfulness[:, chosen], self.truth[chosen])

    @property
    def least_errors(self) -> Tensor:
        """The errors `(n,)` of the way that is nearest to the truth."""
        return self.errors[self.errors.mean(dim=1).argmin()]

    def worth_most(self, price: float, furthest: float) -> tuple[float, int] | None:
        """The least error less `price` times colorfulness, and its way, where the mean error is `furthest` at most; or None."""
        error = self.errors.mean(dim=1)
        cost = (error - price * self.colorfulness.mean(dim=1)).masked_fill(error > furthest, float("inf"))
        way = int(cost.argmin())
        return (float(cost[way]), way) if error[way] <= furthest else None


@torch.no_grad()
def try_out(network: Colorizer, arguments: dict[str, Any], batches: Iterable[Batch]) -> Tried:
    """Have a network paint pictures in all the ways that it could be served; `arguments` are those of one that has no choice."""
    ways = tuple(asdict(way) for way in READ_OUTS) if isinstance(network, VggExpert) else (arguments,)
    errors, vividness, true = [], [], []
    for batch in batches:
        L, truth = F.avg_pool2d(batch.L, 4), F.avg_pool2d(batch.ab, 4)  # where distributions are predicted
        found = list(_all_read_outs(network, batch.L) if isinstance(network, VggExpert) else [painted(network, batch.L)])
        errors.append(torch.stack([delta_e94(ab, truth).mean(dim=(1, 2)).cpu() for ab in found]))
        vividness.append(torch.stack([_colorfulness(L, ab) for ab in found]))
        true.append(_colorfulness(L, truth))
    return Tried(ways, torch.cat(errors, dim=1), torch.cat(vividness, dim=1), torch.cat(true))


def _all_read_outs(network: VggExpert, L: Tensor) -> Iterator[Tensor]:
    logits = network.logits(network.features(network.trunk(L))).float()
    means = {temperature: network.bins.annealed_mean(logits, temperature) for temperature in TEMPERATURES}
    certainties = {mute: network.bins.certainty(logits, mute) for mute in MUTES}
    for way in READ_OUTS:
        yield way.saturation * certainties[way.mute] * means[way.temperature]


def painted(network: Colorizer, L: Tensor) -> Tensor:
    """Ab `(n,2,s/4,s/4)` of L `(n,1,s,s)` as a network paints it, where distributions are predicted."""
    height, width = L.shape[-2:]
    return chroma.resize(network(L).float(), (height // 4, width // 4))


def _colorfulness(L: Tensor, ab: Tensor) -> Tensor:
    return colorfulness(lab_to_srgb(torch.cat((L, ab), dim=1))).cpu()
