"""Pictures of a run, drawn from its metrics file and its sheets, as often as one likes: curves, confusion matrix, progress."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.errors import ChromarouteError
from models.atomic_files import replace_file
from training.fit import read_metrics

ASIDE = ("step", "seconds", "pictures_per_second", "score")  # what has no curve of its own
SHEET_ROWS = 3  # of a painter's sheet: gray, colorized, true
STAGES = 8  # at most so many in the progress picture


class PlotError(ChromarouteError):
    """There is nothing to draw."""


def draw(folder: Path) -> list[Path]:
    """Draw what a run's folder has the numbers for; returns the files.

    `curves.png`: every loss and score over steps, training beside validation. `confusion.png`: of the best validation, with rows
    for the truth. `progress.png`: the same pictures as they were painted at up to eight stages (paper 003, figure 6).

    Raises:
        PlotError: the folder has no metrics.
    """
    rows = list(read_metrics(folder))
    if not rows:
        raise PlotError(f"{folder} has no metrics: give the folder of a run, runs/NAME or runs/NAME/CATEGORY.")
    found = [_curves(rows, folder)]
    named = [row for row in rows if "confusion" in row]
    if named:
        found.append(_saved(confusion_figure(max(named, key=lambda row: row["score"])["confusion"]), folder / "confusion.png"))
    if (progress := _progress(folder, rows)) is not None:
        found.append(progress)
    return found


def _curves(rows: list[dict[str, Any]], folder: Path) -> Path:
    names = sorted({name for row in rows for name, value in row.items() if isinstance(value, float)} - set(ASIDE))
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
    return _saved(figure, folder / "curves.png")


def confusion_figure(confusion: dict[str, Any], columns: str = "named") -> Any:
    """A confusion matrix: `categories`, and `counts` whose rows are the truth; `columns` says what happened to the pictures."""
    names, counts = confusion["categories"], np.asarray(confusion["counts"])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2 + 0.42 * len(names)
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (truth, named), count in np.ndenumerate(counts):
        if count:
            ink = "white" if share[truth, named] > 0.6 else "black"
            axes.text(named, truth, str(count), ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=columns, ylabel="is")
    return figure


def _progress(folder: Path, rows: list[dict[str, Any]]) -> Path | None:
    """The colorized row of the sheets of some stages, between the gray and the true one; None for runs that do not paint."""
    sheets = sorted((folder / "sheets").glob("*.png"))
    if not sheets or "delta_e" not in rows[-1]:
        return None
    stages = [sheets[place] for place in sorted(set(np.linspace(0, len(sheets) - 1, min(STAGES, len(sheets))).astype(int)))]
    images = [np.asarray(Image.open(path)) for path in stages]
    height = images[0].shape[0] // SHEET_ROWS
    strips = [images[-1][:height], *(image[height : 2 * height] for image in images), images[-1][2 * height :]]
    titles = ["gray", *(f"step {int(path.stem)}" for path in stages), "true"]
    figure = new_figure(images[0].shape[1] / 100 + 1.2, len(strips) * height / 100)
    for index, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        axes = figure.add_subplot(len(strips), 1, index + 1)
        axes.imshow(strip)
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
        axes.set(xticks=[], yticks=[])
    return _saved(figure, folder / "progress.png")


def new_figure(width: float, height: float) -> Any:
    """A figure of that size in inches, which belongs to nobody but the caller."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def figure_bytes(figure: Any) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    return buffer.getvalue()


def _saved(figure: Any, path: Path) -> Path:
    replace_file(path, figure_bytes(figure))
    return path
