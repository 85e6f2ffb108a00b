"""Chrominance as a distribution over bins of the ab plane.

Zhang, Isola, Efros 2016, "Colorful Image Colorization", sections 2.1 to 2.3, as paper 002 of this project uses it. What differs:
the bins are the cells of a grid of 10 ab units that sRGB occupies, found by sampling the RGB cube (the authors ship a list of 313);
the rebalancing has a strength, because the published one oversaturates when training is short; and the read-out can mute chroma
where the distribution is uncertain.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lab import srgb_to_lab

NEIGHBORS = 5  # of the soft encoding
SIGMA = 5.0  # of its Gaussian and of that of the prior, in ab units
_REACH = 110  # the ab plane is tabulated over [-110, 110]
_MUTE_VARIANCE = 400.0  # ab units squared: the variance at which a `mute` of 1 scales chroma by 1/e


@cache
def srgb_cells(grid: int = 10) -> Tensor:
    """Centers `(k,2)`, in ab units and sorted, of the cells of an ab grid that contain at least one sRGB color."""
    levels = torch.linspace(0, 1, 52)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 1, -1)
    cells = (srgb_to_lab(cube)[0, 1:, 0].T / grid).round()
    occupied: Tensor = torch.unique(cells, dim=0)
    return occupied * grid


class AbBins(nn.Module):
    """Bins of the ab plane. Their centers `(k,2)`, in ab units, are a buffer and therefore part of the checkpoint.

    Raises:
        ValueError: `centers` is not of shape `(k,2)`.
    """

    centers: Tensor

    def __init__(self, centers: Tensor) -> None:
        super().__init__()
        if centers.ndim != 2 or centers.shape[1] != 2:
            raise ValueError(f"bin centers have the shape {tuple(centers.shape)}: give (k, 2).")
        self.register_buffer("centers", centers.float().clone())
        self.register_load_state_dict_pre_hook(_accept_former_name)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.centers)

    def quantize(self, ab: Tensor) -> Tensor:
        """Index `(n,h,w)` of the nearest bin of each pixel of ab `(n,2,h,w)`."""
        return self._nearest(1)[0][self._cell(ab), 0]

    def soft_encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Indices and Gaussian weights `(n,5,h,w)` of the five bins nearest to each pixel of ab `(n,2,h,w)`; weights sum to 1."""
        index, weight = self._nearest(NEIGHBORS)
        cell = self._cell(ab)
        return index[cell].movedim(-1, 1), weight[cell].movedim(-1, 1)

    def rebalancing(self, prior: Tensor, strength: float = 0.5, smoothing: float = 0.5) -> Tensor:
        """Loss weights `(k,)` that favor rare colors; their mean under the prior `(k,)` is 1.

        Section 2.2: `1 / ((1 - smoothing) p + smoothing / k)`, where p is the prior smoothed by a Gaussian of 5 ab units, raised to
        the power `strength` (1 as published, 0 for no rebalancing).
        """
        prior = prior / prior.sum()
        near = torch.exp(-torch.cdist(self.centers, self.centers).square() / (2 * SIGMA**2)).to(prior)
        smooth = (near / near.sum(dim=0)) @ prior
        weight = ((1 - smoothing) * smooth + smoothing / len(prior)) ** -strength
        return weight / (prior * weight).sum()

    def annealed_mean(self, logits: Tensor, temperature: float = 0.38) -> Tensor:
        """Ab `(n,2,h,w)` of logits `(n,k,h,w)` by the annealed mean of section 2.3.

        A low `temperature` approaches the mode of the distribution (vivid); 1 is its mean (pale).
        """
        return _expectation((logits / temperature).softmax(dim=1), self.centers)

    def certainty(self, logits: Tensor, mute: float) -> Tensor:
        """Factors `(n,1,h,w)` in (0, 1] that reduce chroma where the distribution of logits `(n,k,h,w)` is uncertain.

        `exp(-mute v / 400)`, where v is the variance of the distribution at the pixel in squared ab units.
        """
        p = logits.softmax(dim=1)
        squares = _expectation(p, self.centers.square().sum(dim=1, keepdim=True))
        variance = squares - _expectation(p, self.centers).square().sum(dim=1, keepdim=True)
        return torch.exp(-mute * variance.clamp(min=0) / _MUTE_VARIANCE)

    def _cell(self, ab: Tensor) -> Tensor:
        a, b = (ab.round().clamp(-_REACH, _REACH).long() + _REACH).unbind(1)
        return a * (2 * _REACH + 1) + b

    def _nearest(self, count: int) -> tuple[Tensor, Tensor]:
        """Nearest bins, tabulated over the integer ab plane: a lookup is many times faster than distances at every pixel."""
        tables: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = self.__dict__.setdefault("_tables", {})
        key = (count, self.centers.device)
        if key not in tables:
            axis = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32, device=self.centers.device)
            distance, index = torch.cdist(torch.cartesian_prod(axis, axis), self.centers).topk(count, largest=False)
            tables[key] = index, F.softmax(-distance.square() / (2 * SIGMA**2), dim=1)
        return tables[key]


def _accept_former_name(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Checkpoints of the embedded bundle store the centers under the British spelling."""
    if prefix + "centres" in state:
        state[prefix + "centers"] = state.pop(prefix + "centres")


def _expectation(p: Tensor, values: Tensor) -> Tensor:
    with torch.autocast(p.device.type, enabled=False):  # half precision would shift colors
        return torch.einsum("nkhw,kc->nchw", p.float(), values)
