"""Batches: which pictures belong to a step, and their augmentation, as a pure function of seed and step.

Nothing about the data has to be stored to resume a run exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.recipe import DataOptions
from training.data.augmentation import augmented_lab
from training.data.packs import L_SCALE, Pack


@dataclass(frozen=True)
class Batch:
    """L `(n,1,s,s)` in [0, 100], ab `(n,2,s,s)` in CIELAB units, labels `(n,)` into the categories of the pack.

    `tiny` marks a batch of Tiny ImageNet.
    """

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

    def concat(self, other: "Batch") -> "Batch":
        """The pictures of both."""
        return Batch(torch.cat((self.L, other.L)), torch.cat((self.ab, other.ab)), torch.cat((self.labels, other.labels)))


def training_batch(pack: Pack, step: int, count: int, size: int, seed: int, data: DataOptions) -> Batch:
    """`count` pictures in the order of the shuffled epoch, augmented as `data.augmentation` says."""
    rng = np.random.default_rng((seed, step))
    indices = _shuffled_indices(len(pack), step * count, count, seed)
    L, ab = augmented_lab(pack, indices, size, data, rng)
    return Batch(L, ab, torch.from_numpy(pack.labels[indices]))


def plain_batches(pack: Pack, count: int, size: int) -> Iterator[Batch]:
    """All pictures once, without augmentation, resized to `size`."""
    for start in range(0, len(pack), count):
        indices = np.arange(start, min(start + count, len(pack)))
        lab = torch.from_numpy(pack.rows(indices)).float()
        lab = F.interpolate(lab, (size, size), mode="bilinear", antialias=True, align_corners=False)
        yield Batch(lab[:, :1] / L_SCALE, lab[:, 1:] - 128, torch.from_numpy(pack.labels[indices]))


def _shuffled_indices(total: int, start: int, count: int, seed: int) -> np.ndarray:
    """Indices start .. start + count of an endless sequence of shuffles of `total` pictures."""
    positions = np.arange(start, start + count)
    shuffles = {epoch: np.random.default_rng((seed, 7, epoch)).permutation(total) for epoch in set((positions // total).tolist())}
    return np.array([shuffles[position // total][position % total] for position in positions.tolist()])
