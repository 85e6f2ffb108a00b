"""The most common colors of a dataset and their shares: paper 000, section 4.2, its figure 9.

The paper found a "beige filter" in the output of its model, and the reason in the data: brown, gray and some green.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.batches import plain_batches
from training.data.packs import Pack
from training.figures import figure_bytes, new_figure
from training.metrics.validation import merge_lab, rgb_bytes

SIDE = 64  # pixels a side at which each picture is counted
STEP = 16  # levels of a channel that count as one


@dataclass(frozen=True)
class Palette:
    """RGB colors `(k,3)` in bytes, most common first, and the share `(k,)` of the pixels that have them."""

    colors: np.ndarray
    shares: np.ndarray
    pictures: int


def count_colors(pack: Pack) -> Palette:
    """The colors of all pictures of a pack, with channels rounded to 16 levels."""
    counts = np.zeros((256 // STEP) ** 3, dtype=np.int64)
    for batch in plain_batches(pack, 256, SIDE):
        cells = rgb_bytes(merge_lab(batch.L, batch.ab)).reshape(-1, 3).astype(np.int64) // STEP
        index = (cells[:, 0] * (256 // STEP) + cells[:, 1]) * (256 // STEP) + cells[:, 2]
        counts += np.bincount(index, minlength=len(counts))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    cells = np.stack(np.unravel_index(order, (256 // STEP,) * 3), axis=1)
    return Palette((cells * STEP + STEP // 2).astype(np.uint8), counts[order] / counts.sum(), len(pack))


def draw_palette(palette: Palette, title: str, common: int = 100) -> bytes:
    """A PNG with two pie charts, of the most common colors and of all, each slice in its own color."""
    figure = new_figure(10, 5.4)
    for index, count in enumerate((common, len(palette.colors))):
        axes: Any = figure.add_subplot(1, 2, index + 1)
        axes.pie(palette.shares[:count] / palette.shares[:count].sum(), colors=palette.colors[:count] / 255)
        axes.set_title(f"the {count} most common, {palette.shares[:count].sum():.0%} of all" if index == 0 else "all colors")
    figure.suptitle(f"{title}: {palette.pictures:,} pictures")
    return figure_bytes(figure)
