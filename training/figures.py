"""Matplotlib figures as PNG, without global state; and the figure of a confusion matrix."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np


def new_figure(width: float, height: float) -> Any:
    """A figure of that size in inches, which is not registered with pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def figure_bytes(figure: Any) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    return buffer.getvalue()


def confusion_figure(categories: Sequence[str], counts: Sequence[Sequence[int]], columns: str = "predicted") -> Any:
    """A confusion matrix whose rows are the truth; `columns` is the label of the other axis."""
    matrix = np.asarray(counts)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2 + 0.42 * len(categories)
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (truth, predicted), count in np.ndenumerate(matrix):
        if count:
            ink = "white" if share[truth, predicted] > 0.6 else "black"
            axes.text(predicted, truth, str(count), ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(categories)), categories, rotation=90)
    axes.set_yticks(range(len(categories)), categories)
    axes.set(xlabel=columns, ylabel="truth")
    return figure
