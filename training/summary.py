"""The report of a run, in its own folder: what was trained, on what, for how long, what came out; and its plots."""

import platform
from collections import Counter
from pathlib import Path

import torch

from models.atomic_files import replace_file
from training.config import Recipe
from training.data.manifest import read_set_aside
from training.fit import METRICS, line, read_metrics
from training.material import GENERAL, Material, select
from training.plots import draw
from training.team import Team

REPORT = "report.md"


def write_summary(folder: Path, recipe: Recipe, material: Material, category: str | None, team: Team) -> None:
    """Write `report.md` and the plots of a finished run, out of its metrics and the manifest it was trained from.

    A report that is newer than the metrics stays.
    """
    rows = list(read_metrics(folder))
    report = folder / REPORT
    if not rows or (report.is_file() and report.stat().st_mtime_ns > (folder / METRICS).stat().st_mtime_ns):
        return
    best = max(rows, key=lambda row: row["score"])
    concerns = [f"- step {row['step']}: {each}" for row in rows for each in row.get("concerns", ())]
    seconds = rows[-1].get("seconds", 0.0)
    parts = [
        f"# {recipe.name}" + (f", {category}" if category else ""),
        f"{rows[-1]['step']} steps of {recipe.schedule.batch} pictures in {seconds / 60:.1f} minutes on {_machine(team)}.",
        f"Best at step {best['step']}: {line(best)}.",
        "## Pictures",
        *_pictures(recipe, material, category),
        "## Concerns",
        *(concerns or ["None."]),
        "## Recipe",
        "```json\n" + recipe.model_dump_json(indent=1) + "\n```",
    ]
    replace_file(report, ("\n\n".join(parts) + "\n").encode())
    draw(folder)


def _pictures(recipe: Recipe, material: Material, category: str | None) -> list[str]:
    """How many pictures of each category were trained and validated on, and how many were set aside and why."""
    found = []
    for title, sets, split in (("trained on", recipe.data.sets, "train"), ("validated on", recipe.data.validation_sets, "val")):
        entries = select(material.entries, sets, split, recipe.data.limit)
        counts = Counter(entry.category for entry in entries if category in (None, GENERAL, entry.category))
        each = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        found.append(f"{sum(counts.values())} pictures were {title}: {each}.")
    if most := recipe.schedule.validation_pictures:
        found.append(f"Scores are of at most {most} of the validation pictures, spread evenly.")
    reasons: Counter[str] = Counter(row["reason"] for row in read_set_aside(material.manifest))
    each = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return [*found, f"Set aside when the manifest was made: {each or 'none'}."]


def _machine(team: Team) -> str:
    """What it was trained on, without naming the machine."""
    if team.device.type == "cuda":
        return f"{team.size} x {torch.cuda.get_device_name(team.device)}"
    return f"{team.size} x {torch.get_num_threads()} threads of {platform.machine()}"
