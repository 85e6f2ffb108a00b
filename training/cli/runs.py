"""Commands on runs: train, draw, compare, cross."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.errors import ChromarouteError
from models.atomic_files import replace_file
from training.cli.options import INDEX, RUNS, Changes, Data, Device, Runs, Smoke, labeled
from training.evaluation import charts
from training.evaluation.cross_category import cross as cross_experts
from training.loop.fit import BEST, line, read_metrics
from training.data.datasets import Datasets
from training.runs.plots import PlotError, draw
from training.config.recipe_files import load_recipe, recipe_names
from training.runs.train import Outcome, run, side_by_side, wanted_categories
from training.loop.distributed import single_process, init_distributed
from training.runs.trained import load_trained


class RunsFailed(ChromarouteError):
    """Some of the categories could not be trained."""


def recipes() -> None:
    """List the recipes that come with the project."""
    table = Table("recipe", "trains", "runs")
    for name in recipe_names():
        if not name.startswith("bundle"):
            recipe = load_recipe(name)
            table.add_row(name, recipe.task.kind, "one for each category" if recipe.each else "one")
    Console().print(table)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the project, or a TOML file.")],
    data: Data = INDEX,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006 (typer reads the default and does not change it)
    smoke: Smoke = False,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Go on where a run was interrupted, or move it aside and begin anew.")
    ] = True,
    parallel: Annotated[int, typer.Option(min=1, help="Train so many categories side by side, a process each.")] = 1,
) -> None:
    """Train a recipe; a run that was interrupted goes on where it was. Under torchrun the processes train together."""
    chosen = load_recipe(recipe, tuple(changes), smoke)
    if parallel > 1:
        flags = ["--data", str(data), "--runs", str(runs), "--device", device, *(["--smoke"] if smoke else [])]
        flags += [part for change in changes for part in ("--set", change)] + ([] if resume else ["--restart"])
        outcomes = side_by_side(["train", recipe, *flags], chosen, data, Console(), parallel)
    else:
        outcomes = run(chosen, data, runs, init_distributed(device), restart=not resume)
    failed = [outcome for outcome in map(_told, outcomes) if outcome.problem]
    if failed:
        each = "; ".join(f"{outcome.name}: {outcome.problem}" for outcome in failed)
        raise RunsFailed(f"{len(failed)} of the runs failed, the others are finished. {each}")


def _told(outcome: Outcome) -> Outcome:
    print(f"{outcome.name}: failed" if outcome.problem else f"{outcome.name}: {line(outcome.scores) or 'finished'}")
    return outcome


def plot(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs: runs/NAME or runs/NAME/CATEGORY.")],
) -> None:
    """Draw curves, confusion matrix and progress of runs again, from their metrics and sheets."""
    for folder in folders:
        for path in draw(folder):
            print(path)


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
) -> None:
    """Set the best scores of runs side by side; for those that name, the top-3 error of each category too (paper 003, table I)."""
    best = {name: _best(folder) for name, folder in labeled(folders).items()}
    _table(
        "score", best, {name: {key: value for key, value in row.items() if isinstance(value, float)} for name, row in best.items()}
    )
    named = {name: row["top3_error"] for name, row in best.items() if "top3_error" in row}
    if named:
        _table("top-3 error", named, named)


def _best(folder: Path) -> dict[str, Any]:
    rows = list(read_metrics(folder))
    if not rows:
        raise PlotError(f"{folder} has no metrics: give the folder of a run, runs/NAME or runs/NAME/CATEGORY.")
    return max(rows, key=lambda row: row["score"])


def _table(title: str, names: dict[str, Any], columns: dict[str, dict[str, float]]) -> None:
    table = Table(title, *names)
    for key in dict.fromkeys(key for column in columns.values() for key in column):
        table.add_row(key, *(f"{column[key]:.3f}" if key in column else "" for column in columns.values()))
    Console().print(table)


def cross(
    recipe: Annotated[str, typer.Argument(help="A recipe with a run for each category, or a TOML file.")],
    data: Data = INDEX,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The picture to draw; crossing.png beside the runs if not given.")] = None,
) -> None:
    """Paint every category by every expert of a recipe, and draw what a wrong route costs (paper 003, figure 9)."""
    chosen = load_recipe(recipe, tuple(changes))
    datasets, place = Datasets(chosen.data, data), single_process(device).device
    names = [name for name in wanted_categories(chosen, datasets) if (runs / chosen.name / name / BEST).is_file()]
    if not names:
        raise PlotError(f"there are no finished runs in {runs / chosen.name}: train {recipe} first.")
    experts = {name: load_trained(runs / chosen.name / name, place) for name in names}
    matrix = cross_experts(experts, datasets, place)
    path = out or runs / chosen.name / "crossing.png"
    rows = {name: dict(zip(names, row, strict=True)) for name, row in zip(names, matrix.tolist(), strict=True)}
    replace_file(path, charts.crossing(rows, {name: name for name in names}))
    _table("pictures of, painted by", experts, {name: {row: rows[row][name] for row in names} for name in names})
    print(path)
