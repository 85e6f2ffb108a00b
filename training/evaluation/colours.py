"""The most common colors of a data set, and their share: paper 000, section 4.2, its figure 9.

The paper found a "beige filter" in what its model painted, and the reason in the data: brown, gray and some green.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.atomic_files import replace_file
from training.data.batches import plain_batches
from training.data.packs import Pack
from training.evaluation.validation import colorized, rgb_bytes
from training.plots import figure_bytes, new_figure

SIDE = 64  # pixels a side that are counted in each picture
STEP = 16  # of the 256 levels of a channel that are taken for one


@dataclass(frozen=True)
class ColorCounts:
    """RGB colors `(k,3)` in bytes, the commonest first, and the share `(k,)` of the pixels that have them."""

    colors: np.ndarray
    shares: np.ndarray
    pictures: int


def count_colors(pack: Pack) -> ColorCounts:
    """Count the colors of all pictures of a pack, channels rounded to 16 steps."""
    counts = np.zeros((256 // STEP) ** 3, dtype=np.int64)
    for batch in plain_batches(pack, 256, SIDE):
        cells = rgb_bytes(colorized(batch.L, batch.ab)).reshape(-1, 3).astype(np.int64) // STEP
        index = (cells[:, 0] * (256 // STEP) + cells[:, 1]) * (256 // STEP) + cells[:, 2]
        counts += np.bincount(index, minlength=len(counts))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    cells = np.stack(np.unravel_index(order, (256 // STEP,) * 3), axis=1)
    return ColorCounts((cells * STEP + STEP // 2).astype(np.uint8), counts[order] / counts.sum(), len(pack))


def draw_colors(found: ColorCounts, title: str, path: Path, common: int = 100) -> None:
    """Two pies: of the most common colors, and of all, each slice in its own color."""
    figure = new_figure(10, 5.4)
    for index, count in enumerate((common, len(found.colors))):
        axes: Any = figure.add_subplot(1, 2, index + 1)
        axes.pie(found.shares[:count] / found.shares[:count].sum(), colors=found.colors[:count] / 255)
        axes.set_title(f"the {count} most common, {found.shares[:count].sum():.0%} of all" if index == 0 else "all colors")
    figure.suptitle(f"{title}: {found.pictures:,} pictures")
    replace_file(path, figure_bytes(figure))
