"""The most common colours of a data set, and their share: paper 000, section 4.2, its figure 9.

The paper found a "beige filter" in what its model painted, and the reason in the data: brown, grey and some green.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.files import replace_file
from training.data.batches import plain_batches
from training.data.packs import Pack
from training.evaluation.validation import coloured, rgb_bytes
from training.plots import figure_bytes, new_figure

SIDE = 64  # pixels a side that are counted in each picture
STEP = 16  # of the 256 levels of a channel that are taken for one


@dataclass(frozen=True)
class ColourCounts:
    """RGB colours `(k,3)` in bytes, the commonest first, and the share `(k,)` of the pixels that have them."""

    colours: np.ndarray
    shares: np.ndarray
    pictures: int


def count_colours(pack: Pack) -> ColourCounts:
    """Count the colours of all pictures of a pack, channels rounded to 16 steps."""
    counts = np.zeros((256 // STEP) ** 3, dtype=np.int64)
    for batch in plain_batches(pack, 256, SIDE):
        cells = rgb_bytes(coloured(batch.L, batch.ab)).reshape(-1, 3).astype(np.int64) // STEP
        index = (cells[:, 0] * (256 // STEP) + cells[:, 1]) * (256 // STEP) + cells[:, 2]
        counts += np.bincount(index, minlength=len(counts))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    cells = np.stack(np.unravel_index(order, (256 // STEP,) * 3), axis=1)
    return ColourCounts((cells * STEP + STEP // 2).astype(np.uint8), counts[order] / counts.sum(), len(pack))


def draw_colours(found: ColourCounts, title: str, path: Path, common: int = 100) -> None:
    """Two pies: of the most common colours, and of all, each slice in its own colour."""
    figure = new_figure(10, 5.4)
    for index, count in enumerate((common, len(found.colours))):
        axes: Any = figure.add_subplot(1, 2, index + 1)
        axes.pie(found.shares[:count] / found.shares[:count].sum(), colors=found.colours[:count] / 255)
        axes.set_title(f"the {count} most common, {found.shares[:count].sum():.0%} of all" if index == 0 else "all colours")
    figure.suptitle(f"{title}: {found.pictures:,} pictures")
    replace_file(path, figure_bytes(figure))
