"""Batches: which pictures belong to a step, and their augmentation, as a pure function of seed and step.

Nothing about the data has to be stored to resume a run exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.tones import normalized_tones
from training.config.recipe import DataOptions
from training.data.augmentation import augmented_lab
from training.data.packs import L_SCALE, Pack


@dataclass(frozen=True)
class Batch:
    """L `(n,1,s,s)` in [0, 100], ab `(n,2,s,s)` in CIELAB units, and labels and kinds `(n,)` as in the pack."""

    L: Tensor
    ab: Tensor
    labels: Tensor
    kinds: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(tensor.to(device) for tensor in (self.L, self.ab, self.labels, self.kinds)))

    def pick(self, rows: slice) -> "Batch":
        """Some of the pictures."""
        return Batch(self.L[rows], self.ab[rows], self.labels[rows], self.kinds[rows])

    def concat(self, other: "Batch") -> "Batch":
        """The pictures of both."""
        pairs = ((self.L, other.L), (self.ab, other.ab), (self.labels, other.labels), (self.kinds, other.kinds))
        return Batch(*(torch.cat(pair) for pair in pairs))


def training_batch(pack: Pack, step: int, count: int, size: int, seed: int, data: DataOptions) -> Batch:
    """`count` pictures in the order of the shuffled epoch, or drawn by weight, augmented as `data.augmentation` says."""
    rng = np.random.default_rng((seed, step))
    if pack.weights is None:
        indices = _shuffled_indices(len(pack), step * count, count, seed)
    else:
        indices = pack.drawn(count, np.random.default_rng((seed, 11, step)))
    L, ab = augmented_lab(pack, indices, size, data, rng)
    return Batch(normalized_tones(L) if data.normalize_tones else L, ab, *_labels(pack, indices))


def plain_batches(pack: Pack, count: int, size: int, normalize_tones: bool = False) -> Iterator[Batch]:
    """All pictures once, without augmentation, resized to `size`."""
    for start in range(0, len(pack), count):
        indices = np.arange(start, min(start + count, len(pack)))
        lab = torch.from_numpy(pack.rows(indices)).float()
        lab = F.interpolate(lab, (size, size), mode="bilinear", antialias=True, align_corners=False)
        L = lab[:, :1] / L_SCALE
        yield Batch(normalized_tones(L) if normalize_tones else L, lab[:, 1:] - 128, *_labels(pack, indices))


def _labels(pack: Pack, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pack.labels[indices]), torch.from_numpy(pack.kinds[indices])


def _shuffled_indices(total: int, start: int, count: int, seed: int) -> np.ndarray:
    """Indices start .. start + count of an endless sequence of shuffles of `total` pictures."""
    positions = np.arange(start, start + count)
    shuffles = {epoch: np.random.default_rng((seed, 7, epoch)).permutation(total) for epoch in set((positions // total).tolist())}
    return np.array([shuffles[position // total][position % total] for position in positions.tolist()])
