"""Every category painted by every expert: what a wrong route costs; paper 003, section V and figure 9, as numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from models.files import replace_file
from training.data.batches import plain_batches
from training.material import Material
from training.plots import figure_bytes, new_figure
from training.publishing.calibration import picture_errors
from training.trained import Trained

PICTURES = 60  # of a category


def cross(experts: Mapping[str, Trained], material: Material, device: torch.device) -> np.ndarray:
    """Mean ΔE94 of each category's validation pictures (rows) under each expert (columns), in the order of `experts`.

    Raises:
        DataError: a category has no validation pictures.
    """
    matrix = np.zeros((len(experts), len(experts)))
    for column, expert in enumerate(track(list(experts.values()), description="crossing")):
        for row, category in enumerate(experts):
            pack = material.of(material.val, category).spread(PICTURES)
            batches = (batch.to(device) for batch in plain_batches(pack, 32, expert.size))
            matrix[row, column] = float(picture_errors(expert.network, batches).mean())
    return matrix


def draw_crossing(categories: list[str], matrix: np.ndarray, path: Path) -> None:
    """The matrix as numbers on colours, each row relative to its own expert."""
    figure = new_figure(2.5 + 0.75 * len(categories), 2 + 0.6 * len(categories))
    axes = figure.add_subplot()
    relative = matrix / np.diag(matrix)[:, None]
    axes.imshow(relative, cmap="RdYlGn_r", vmin=0.5, vmax=1.5)
    for (row, column), value in np.ndenumerate(matrix):
        ink = "black" if abs(relative[row, column] - 1) < 0.35 else "white"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(len(categories)), categories, rotation=90)
    axes.set_yticks(range(len(categories)), categories)
    axes.set(xlabel="painted by", ylabel="pictures of", title="ΔE94; colour: relative to the category's own expert")
    replace_file(path, figure_bytes(figure))
