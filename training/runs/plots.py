"""Plots of a run, from its metrics and sample grids: curves, confusion matrix, progress."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.atomic_files import replace_file
from models.errors import ChromarouteError
from training.figures import confusion_figure, figure_bytes, new_figure
from training.loop.run_folder import SAMPLES, read_metrics

WITHOUT_CURVE = ("step", "seconds", "pictures_per_second", "score")
GRID_ROWS = 3  # of a sample grid: gray, colorized, true
STAGES = 8  # at most, in the plot of progress


class PlotError(ChromarouteError):
    """There is nothing to plot."""


def plot_run(folder: Path) -> list[Path]:
    """Plot the metrics of a run; returns the files.

    `curves.png`: all losses and scores over steps, for training and validation. `confusion.png`: of the best validation, with rows
    for the truth. `progress.png`: the same pictures colorized at up to eight stages (paper 003, figure 6).

    Raises:
        PlotError: the folder has no metrics.
    """
    rows = read_rows(folder)
    paths = [_curves(rows, folder)]
    with_confusion = [row for row in rows if "confusion" in row]
    if with_confusion:
        confusion = max(with_confusion, key=lambda row: row["score"])["confusion"]
        paths.append(_save(confusion_figure(confusion["categories"], confusion["counts"]), folder / "confusion.png"))
    if (progress := _progress(folder, rows)) is not None:
        paths.append(progress)
    return paths


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run.

    Raises:
        PlotError: the folder has none.
    """
    rows = list(read_metrics(folder))
    if not rows:
        raise PlotError(f"{folder} has no metrics: give the folder of a run, runs/NAME or runs/NAME/CATEGORY.")
    return rows


def _curves(rows: list[dict[str, Any]], folder: Path) -> Path:
    names = sorted({name for row in rows for name, value in row.items() if isinstance(value, float)} - set(WITHOUT_CURVE))
    panels = [name for name in names if not (name.startswith("val_") and name.removeprefix("val_") in names)]
    columns = min(3, len(panels))
    figure = new_figure(4.2 * columns, 3 * math.ceil(len(panels) / columns))
    for index, name in enumerate(panels):
        axes = figure.add_subplot(math.ceil(len(panels) / columns), columns, index + 1)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        if f"val_{name}" in names:
            axes.legend()
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    figure.suptitle("/".join(folder.parts[-2:]))
    return _save(figure, folder / "curves.png")


def _progress(folder: Path, rows: list[dict[str, Any]]) -> Path | None:
    """The colorized rows of the sample grids of some stages, between gray and truth; None for runs that do not colorize."""
    grids = sorted((folder / SAMPLES).glob("*.png"))
    if not grids or "delta_e" not in rows[-1]:
        return None
    stages = [grids[index] for index in sorted(set(np.linspace(0, len(grids) - 1, min(STAGES, len(grids))).astype(int)))]
    images = [np.asarray(Image.open(path)) for path in stages]
    height = images[0].shape[0] // GRID_ROWS
    strips = [images[-1][:height], *(image[height : 2 * height] for image in images), images[-1][2 * height :]]
    titles = ["gray", *(f"step {int(path.stem)}" for path in stages), "true"]
    figure = new_figure(images[0].shape[1] / 100 + 1.2, len(strips) * height / 100)
    for index, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        axes = figure.add_subplot(len(strips), 1, index + 1)
        axes.imshow(strip)
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
    return _save(figure, folder / "progress.png")


def _save(figure: Any, path: Path) -> Path:
    replace_file(path, figure_bytes(figure))
    return path
