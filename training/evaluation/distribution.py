"""Which colors there are: in a data set, in what a bundle paints, and how far these are from each other; paper 000, section 4.2.

The paper looks at the colors of its data to explain what its networks paint ("mostly brown, gray and some green"). Here the ab
plane is cut into cells of 10 units; two distributions over them are compared by the Jensen-Shannon divergence (Lin 1991) in bits: 0
for equal ones, 1 for such as share no cell.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.batches import plain_batches
from training.data.packs import Pack

CELL = 10  # CIELAB units a side of the cells that colors are counted in
CELLS = 26  # cells a side, from -130 to 130
CHROMA_STEP = 10  # CIELAB units of a bar of the histogram of chroma
CHROMA_TOP = 100

Counts = NDArray[Any]  # of pixels, or shares of them


def cell_counts(ab: NDArray[np.float32]) -> Counts:
    """How many of the pixels `(2,...)` lie in each cell of the ab plane: `(26*26,)`, the rows of a after one another."""
    cells = ((ab + CELL * CELLS / 2) // CELL).astype(int).clip(0, CELLS - 1)
    return np.bincount((cells[0] * CELLS + cells[1]).ravel(), minlength=CELLS * CELLS)


@torch.no_grad()
def pack_counts(pack: Pack, side: int, paint: Callable[[Tensor], Tensor] | None = None) -> Counts:
    """The counts of all pictures of a pack at `side` pixels: of their true ab, or of what `paint(L) -> ab` makes of them."""
    counts = np.zeros(CELLS * CELLS, dtype=np.int64)
    for batch in plain_batches(pack, 64, side):
        ab = batch.ab if paint is None else paint(batch.L)
        counts += cell_counts(ab.float().cpu().numpy().swapaxes(0, 1))
    return counts


def divergence(counts: Counts, others: Counts) -> float:
    """Jensen-Shannon, in bits, between two histograms `(k,)`."""
    first, second = (each / each.sum() for each in (counts, others))
    middle = (first + second) / 2

    def from_middle(share: NDArray[np.float64]) -> float:
        there = share > 0
        return float((share[there] * np.log2(share[there] / middle[there])).sum())

    return (from_middle(first) + from_middle(second)) / 2


def distances(categories: Sequence[str], colors: Sequence[Mapping[str, Counts]]) -> dict[str, Any]:
    """For each way, the divergence of what it painted from *truth*: of all pictures, and by category; and the histograms of chroma.

    `categories` and `colors` are of the same pictures, which all weigh the same; the latter by way.
    """
    found: dict[str, Any] = {}
    names = np.array(categories)
    shares = [{way: counts / counts.sum() for way, counts in each.items()} for each in colors]
    own = {
        name: [each for each, category in zip(shares, names, strict=True) if category == name] for name in sorted(set(categories))
    }
    counted = {way: {name: np.sum([each[way] for each in rows], axis=0) for name, rows in own.items()} for way in colors[0]}
    true = counted.pop("truth")
    whole = np.sum(list(true.values()), axis=0)
    for way, painted in counted.items():
        all_of_it = np.sum(list(painted.values()), axis=0)
        found[way] = {
            "chroma": chroma_histogram(all_of_it).tolist(),
            "true_chroma": chroma_histogram(whole).tolist(),
            "all": divergence(all_of_it, whole),
            "by_category": {name: divergence(painted[name], true[name]) for name in painted},
        }
    return found


def chroma_histogram(counts: Counts) -> NDArray[np.float64]:
    """The share of pixels by chroma in steps of 10 units, the last one with all above, out of the counts of ab cells."""
    centers = (np.arange(CELLS) - CELLS / 2 + 0.5) * CELL
    chroma = np.hypot(centers[:, None], centers[None])
    bars = np.minimum(chroma // CHROMA_STEP, CHROMA_TOP // CHROMA_STEP - 1).astype(int)
    found: NDArray[np.float64] = np.bincount(bars.ravel(), counts, CHROMA_TOP // CHROMA_STEP) / counts.sum()
    return found
