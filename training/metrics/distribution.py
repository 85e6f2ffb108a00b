"""Distributions of colors: histograms over the ab plane and over chroma, and the divergence between them; paper 000, section 4.2.

The paper explains the colors that its networks predict by those of its data ("mostly brown, gray and some green"). Here the ab
plane is divided into cells of 10 units, and two distributions over them are compared by the Jensen-Shannon divergence (Lin 1991) in
bits: 0 for equal ones, 1 for distributions that share no cell.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from training.data.batches import plain_batches
from training.data.packs import Pack

CELL = 10  # side of a cell in CIELAB units
CELLS = 26  # cells a side, from -130 to 130
CHROMA_STEP = 10  # width in CIELAB units of a bin of the histogram of chroma
MAX_CHROMA = 100

Counts = NDArray[Any]  # of pixels, or shares of them


@dataclass(frozen=True)
class ColorDistribution:
    """Predicted colors against true ones: divergence over all pictures and by category, and both histograms of chroma."""

    divergence: float
    by_category: dict[str, float]
    chroma: list[float]
    true_chroma: list[float]


def cell_counts(ab: NDArray[np.float32]) -> Counts:
    """The number of pixels `(2,...)` in each cell of the ab plane: `(26*26,)`, ordered by a, then b."""
    cells = ((ab + CELL * CELLS / 2) // CELL).astype(int).clip(0, CELLS - 1)
    return np.bincount((cells[0] * CELLS + cells[1]).ravel(), minlength=CELLS * CELLS)


@torch.no_grad()
def pack_counts(pack: Pack, side: int, predict: Callable[[Tensor], Tensor] | None = None) -> Counts:
    """The counts of all pictures of a pack at `side` pixels: of their true ab, or of that which `predict(L)` returns."""
    counts = np.zeros(CELLS * CELLS, dtype=np.int64)
    for batch in plain_batches(pack, 64, side):
        ab = batch.ab if predict is None else predict(batch.L)
        counts += cell_counts(ab.float().cpu().numpy().swapaxes(0, 1))
    return counts


def divergence(counts: Counts, others: Counts) -> float:
    """The Jensen-Shannon divergence in bits between two histograms `(k,)`, by SciPy, which returns its square root."""
    return float(jensenshannon(counts, others, base=2) ** 2)


def compare_distributions(categories: Sequence[str], predicted: Sequence[Counts], true: Sequence[Counts]) -> ColorDistribution:
    """The distribution of predicted colors against the true ones; `categories` and counts `(k,)` are those of the same pictures.

    All pictures have the same weight.
    """
    names = sorted(set(categories))
    own, truth = _by_category(categories, predicted), _by_category(categories, true)
    whole, true_whole = (np.sum([counts[name] for name in names], axis=0) for counts in (own, truth))
    return ColorDistribution(
        divergence=divergence(whole, true_whole),
        by_category={name: divergence(own[name], truth[name]) for name in names},
        chroma=chroma_histogram(whole).tolist(),
        true_chroma=chroma_histogram(true_whole).tolist(),
    )


def chroma_histogram(counts: Counts) -> NDArray[np.float64]:
    """The shares of pixels by chroma in bins of 10 units, the last of which is open, of the counts of ab cells."""
    centers = (np.arange(CELLS) - CELLS / 2 + 0.5) * CELL
    chroma = np.hypot(centers[:, None], centers[None])
    bins = np.minimum(chroma // CHROMA_STEP, MAX_CHROMA // CHROMA_STEP - 1).astype(int)
    shares: NDArray[np.float64] = np.bincount(bins.ravel(), counts, MAX_CHROMA // CHROMA_STEP) / counts.sum()
    return shares


def _by_category(categories: Sequence[str], counts: Sequence[Counts]) -> Mapping[str, Counts]:
    sums: dict[str, Counts] = {}
    for name, own in zip(categories, counts, strict=True):
        sums[name] = sums.get(name, 0) + own / own.sum()
    return sums
