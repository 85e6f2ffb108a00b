"""Chrominance as a distribution over bins of the ab plane.

Zhang, Isola, Efros 2016, "Colorful Image Colorization", sections 2.1 to 2.3, as paper 002 of this project uses it. What differs:
the bins are the cells of a 10-grid that sRGB really occupies, found by walking the RGB cube (the authors ship a list of 313); the
rebalancing has a strength, because the published one oversaturates in a short training; and the read-out may mute what the
distribution is unsure of.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lab import srgb_to_lab

NEIGHBOURS = 5  # of the soft encoding
SIGMA = 5.0  # of its Gaussian and of that of the prior, in ab units
_REACH = 110  # the ab plane is tabulated over [-110, 110]
_DOUBT = 400.0  # ab units squared: a spread of 20, at which a `mute` of 1 scales chroma by 1/e


@cache
def srgb_cells(grid: int = 10) -> Tensor:
    """The centres `(k,2)` of the cells of an ab grid that sRGB colours fall into, in ab units, sorted."""
    levels = torch.linspace(0, 1, 52)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 1, -1)
    cells = (srgb_to_lab(cube)[0, 1:, 0].T / grid).round()
    found: Tensor = torch.unique(cells, dim=0)
    return found * grid


class AbBins(nn.Module):
    """Bins of the ab plane; their centres `(k,2)` are a buffer, so that they travel with the checkpoint.

    Raises:
        ValueError: `centres` is not of shape `(k,2)`.
    """

    centres: Tensor

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        if centres.ndim != 2 or centres.shape[1] != 2:
            raise ValueError(f"bin centres have the shape {tuple(centres.shape)}: give (k, 2).")
        self.register_buffer("centres", centres.float().clone())

    def __len__(self) -> int:
        return len(self.centres)

    def quantise(self, ab: Tensor) -> Tensor:
        """The index `(n,h,w)` of the nearest bin of each pixel of ab `(n,2,h,w)`."""
        return self._nearest(1)[0][self._cell(ab), 0]

    def soft_encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """The five nearest bins of each pixel and their Gaussian weights: `(n,5,h,w)` indices and weights that sum to 1."""
        index, weight = self._nearest(NEIGHBOURS)
        cell = self._cell(ab)
        return index[cell].movedim(-1, 1), weight[cell].movedim(-1, 1)

    def rebalancing(self, prior: Tensor, strength: float = 0.5, smoothing: float = 0.5) -> Tensor:
        """Loss weights `(k,)` that favour rare colours, of mean 1 under the prior `(k,)`.

        Section 2.2's weights `1 / ((1 - smoothing) p + smoothing / k)`, with p the prior smoothed by a Gaussian of 5 ab units,
        raised to `strength`: 1 is as published, 0 is none.
        """
        prior = prior / prior.sum()
        near = torch.exp(-torch.cdist(self.centres, self.centres).square() / (2 * SIGMA**2)).to(prior)
        smooth = (near / near.sum(dim=0)) @ prior
        weight = ((1 - smoothing) * smooth + smoothing / len(prior)) ** -strength
        return weight / (prior * weight).sum()

    def annealed_mean(self, logits: Tensor, temperature: float = 0.38) -> Tensor:
        """Read ab `(n,2,h,w)` out of logits `(n,k,h,w)`: section 2.3's annealed mean.

        Low `temperature` goes towards the mode (vivid), 1 is the mean (pale).
        """
        return _expectation((logits / temperature).softmax(dim=1), self.centres)

    def certainty(self, logits: Tensor, mute: float) -> Tensor:
        """Factors `(n,1,h,w)` up to 1 on chroma, which mute what logits `(n,k,h,w)` are unsure of.

        `exp(-mute v / 400)`, where v is the variance of the distribution at the pixel in squared ab units.
        """
        p = logits.softmax(dim=1)
        squares = _expectation(p, self.centres.square().sum(dim=1, keepdim=True))
        variance = squares - _expectation(p, self.centres).square().sum(dim=1, keepdim=True)
        return torch.exp(-mute * variance.clamp(min=0) / _DOUBT)

    def _cell(self, ab: Tensor) -> Tensor:
        a, b = (ab.round().clamp(-_REACH, _REACH).long() + _REACH).unbind(1)
        return a * (2 * _REACH + 1) + b

    def _nearest(self, count: int) -> tuple[Tensor, Tensor]:
        """A table over the integer ab plane: a look-up is many times faster than distances at every pixel."""
        tables: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = self.__dict__.setdefault("_tables", {})
        key = (count, self.centres.device)
        if key not in tables:
            axis = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32, device=self.centres.device)
            distance, index = torch.cdist(torch.cartesian_prod(axis, axis), self.centres).topk(count, largest=False)
            tables[key] = index, F.softmax(-distance.square() / (2 * SIGMA**2), dim=1)
        return tables[key]


def _expectation(p: Tensor, values: Tensor) -> Tensor:
    with torch.autocast(p.device.type, enabled=False):  # half precision would shift colours
        return torch.einsum("nkhw,kc->nchw", p.float(), values)
