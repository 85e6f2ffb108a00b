"""Batches for training: which pictures come at a step, and how they are varied, as a pure function of the seed and the step.

That is what makes a run resumable exactly: nothing about the data has to be remembered.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.config import Data
from training.data.packs import L_SCALE, Pack


@dataclass(frozen=True)
class Batch:
    """L `(n,1,s,s)` in [0, 100], ab `(n,2,s,s)` in CIELAB units, labels `(n,)` into the pack's categories."""

    L: Tensor
    ab: Tensor
    labels: Tensor
    tiny: bool = False

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return replace(self, L=self.L.to(device), ab=self.ab.to(device), labels=self.labels.to(device))

    def pick(self, rows: slice) -> "Batch":
        """Some of the pictures."""
        return replace(self, L=self.L[rows], ab=self.ab[rows], labels=self.labels[rows])


def training_batch(pack: Pack, step: int, count: int, size: int, seed: int, data: Data) -> Batch:
    """`count` pictures in the order of the epoch's shuffle, varied as `data.vary` says.

    *everything* crops, stretches and flips, and varies sharpness and tone; *flips_and_rotations* flips both ways and turns by
    quarters; *flips* mirrors; *nothing* takes the pictures as they are.
    """
    rng = np.random.default_rng((seed, step))
    order = _order(len(pack), step * count, count, seed)
    vary, everything = data.vary, data.vary == "everything"
    lab = _crops(pack, order, rng) if everything else torch.from_numpy(pack.rows(order)).float()
    lab = F.interpolate(lab, (size, size), mode="bilinear", antialias=True, align_corners=False)
    if vary != "nothing":
        flipped = torch.from_numpy(rng.random(count) < 0.5)
        lab[flipped] = lab[flipped].flip(-1)
    if vary == "flips_and_rotations":
        quarters = rng.integers(4, size=count).tolist()
        lab = torch.stack([picture.rot90(turns, (-2, -1)) for picture, turns in zip(lab, quarters, strict=True)])
    L = lab[:, :1] / L_SCALE
    if everything:
        L = _retone(_soften(L, data.softest, rng), rng)
    return Batch(L, lab[:, 1:] - 128, torch.from_numpy(pack.labels[order]))


def plain_batches(pack: Pack, count: int, size: int) -> Iterator[Batch]:
    """Every picture once, as it is, resized to `size`."""
    for start in range(0, len(pack), count):
        places = np.arange(start, min(start + count, len(pack)))
        lab = torch.from_numpy(pack.rows(places)).float()
        lab = F.interpolate(lab, (size, size), mode="bilinear", antialias=True, align_corners=False)
        yield Batch(lab[:, :1] / L_SCALE, lab[:, 1:] - 128, torch.from_numpy(pack.labels[places]))


def _order(total: int, start: int, count: int, seed: int) -> np.ndarray:
    """Indices start .. start + count of an endless sequence of shuffles of `total` pictures."""
    places = np.arange(start, start + count)
    shuffles = {epoch: np.random.default_rng((seed, 7, epoch)).permutation(total) for epoch in set(places // total)}
    return np.array([shuffles[place // total][place % total] for place in places])


def _crops(pack: Pack, order: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Crops of one shape for the whole batch, at random places: 65 to 100% of the side, and a little wide or tall."""
    side = pack.side
    height, width = (np.clip(rng.uniform(0.65, 1.1) * rng.uniform(0.9, 1.1, 2), 0.6, 1.0) * side).astype(int)
    tops = rng.integers(0, side - height + 1, len(order))
    lefts = rng.integers(0, side - width + 1, len(order))
    crops = [
        pack.row(index)[:, top : top + height, left : left + width] for index, top, left in zip(order, tops, lefts, strict=True)
    ]
    return torch.from_numpy(np.stack(crops)).float()


def _soften(L: Tensor, softest: float, rng: np.random.Generator) -> Tensor:
    """Every other picture loses detail, so that the sharpness of a source says nothing about the category."""
    scale = rng.uniform(softest, 0.9)
    chosen = torch.from_numpy(rng.random(len(L)) < 0.5)
    if chosen.any():
        small = F.interpolate(L[chosen], scale_factor=scale, mode="bilinear", antialias=True, align_corners=False)
        L[chosen] = F.interpolate(small, L.shape[-2:], mode="bilinear", align_corners=False)
    return L


def _retone(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Contrast, brightness and grain of each picture vary, as they do between prints and scans."""
    shape = (len(L), 1, 1, 1)
    contrast = torch.from_numpy(rng.uniform(0.8, 1.15, shape)).float()
    brightness = torch.from_numpy(rng.uniform(-8, 8, shape)).float()
    grain = torch.from_numpy(rng.uniform(0, 2.5, shape) * (rng.random(shape) < 0.3)).float()
    noise = torch.from_numpy(rng.standard_normal(L.shape, dtype=np.float32))
    return ((L - 50) * contrast + 50 + brightness + grain * noise).clamp(0, 100)
