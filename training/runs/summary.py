"""The summary of a run in its folder: what was trained, on which pictures, for how long, and the scores; with its plots."""

import platform
from collections import Counter
from pathlib import Path

import torch

from models.atomic_files import replace_file
from training.config.recipe import Recipe
from training.data.dataset_index import read_excluded
from training.data.datasets import GENERAL, Datasets, select
from training.loop.distributed import ProcessGroup
from training.loop.run_folder import METRICS, format_metrics, read_metrics
from training.runs.plots import plot_run

SUMMARY = "summary.md"


def write_summary(folder: Path, recipe: Recipe, datasets: Datasets, category: str | None, group: ProcessGroup) -> None:
    """Write `summary.md` and the plots of a finished run. A summary that is newer than the metrics is kept."""
    rows = list(read_metrics(folder))
    path = folder / SUMMARY
    if not rows or (path.is_file() and path.stat().st_mtime_ns > (folder / METRICS).stat().st_mtime_ns):
        return
    best = max(rows, key=lambda row: row["score"])
    warnings = [f"- step {row['step']}: {warning}" for row in rows for warning in row.get("warnings", ())]
    seconds = rows[-1].get("seconds", 0.0)
    parts = [
        f"# {recipe.name}" + (f", {category}" if category else ""),
        f"{rows[-1]['step']} steps of {recipe.schedule.batch} pictures in {seconds / 60:.1f} minutes on {_machine(group)}.",
        f"Best at step {best['step']}: {format_metrics(best)}.",
        "## Pictures",
        *_pictures(recipe, datasets, category),
        "## Warnings",
        *(warnings or ["None."]),
        "## Recipe",
        "```json\n" + recipe.model_dump_json(indent=1) + "\n```",
    ]
    replace_file(path, ("\n\n".join(parts) + "\n").encode())
    plot_run(folder)


def _pictures(recipe: Recipe, datasets: Datasets, category: str | None) -> list[str]:
    """The number of pictures of each category for training and validation, and of excluded files by reason."""
    lines = []
    for title, sets, split in (("training", recipe.data.sets, "train"), ("validation", recipe.data.validation_sets, "val")):
        entries = select(datasets.entries, sets, split, recipe.data.limit, datasets.category)
        counts = Counter(datasets.category(entry) for entry in entries)
        counts = counts if category in (None, GENERAL) else Counter({category: counts[category]})
        by_category = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        lines.append(f"{sum(counts.values())} {title} pictures: {by_category}.")
    if limit := recipe.schedule.validation_pictures:
        lines.append(f"Scores are those of at most {limit} validation pictures, evenly spread.")
    reasons: Counter[str] = Counter(row["reason"] for row in read_excluded(datasets.index))
    by_reason = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return [*lines, f"Excluded from the dataset index: {by_reason or 'none'}."]


def _machine(group: ProcessGroup) -> str:
    """The hardware, without the name of the machine."""
    if group.device.type == "cuda":
        return f"{group.size} x {torch.cuda.get_device_name(group.device)}"
    return f"{group.size} x {torch.get_num_threads()} threads of {platform.machine()}"
