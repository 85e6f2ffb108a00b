"""Commands for runs: recipes, train, plot, compare, cross, judge."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.atomic_files import replace_file
from models.errors import ChromarouteError
from training.cli.options import (
    INDEX,
    RUNS,
    Changes,
    Data,
    Device,
    Limit,
    Runs,
    SetNames,
    Smoke,
    Split,
    folders_by_name,
    print_columns,
    select_entries,
)  # fmt: skip
from training.config.recipe_files import load_recipe, recipe_names
from training.data.batches import plain_batches
from training.data.dataset_index import DataError
from training.data.datasets import Datasets
from training.data.packs import load_pack
from training.evaluation.cross_category import cross_runs
from training.evaluation.judge import load_judge
from training.evaluation.judge_runs import RunJudgment, judge_runs
from training.loop.distributed import init_distributed, single_process
from training.loop.run_folder import BEST, format_metrics
from training.report import charts
from training.runs.cluster import train_on_cluster
from training.runs.plots import PlotError, plot_run, read_rows
from training.runs.train import Outcome, recipe_categories, train_in_parallel, train_recipe
from training.runs.trained import load_colorizer

EXAMPLES = 8  # pictures in the judge's second table


class RunsFailed(ChromarouteError):
    """Some of the categories could not be trained."""


def recipes() -> None:
    """List the recipes of the project."""
    table = Table("recipe", "task", "runs")
    for name in recipe_names():
        if not name.startswith("bundle"):
            recipe = load_recipe(name)
            table.add_row(name, recipe.task.kind, "one for each category" if recipe.per_category else "one")
    Console().print(table)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the project, or a TOML file.")],
    data: Data = INDEX,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006 (typer reads the default and does not change it)
    smoke: Smoke = False,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Resume an interrupted run, or move existing runs aside and start again.")
    ] = True,
    parallel: Annotated[int, typer.Option(min=1, help="Train this many categories at a time, each in its own process.")] = 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="Train the categories on the Ray cluster of RAY_ADDRESS, or one on this machine.")
    ] = False,
    cpus: Annotated[float, typer.Option(min=0, help="Cores of each category, with --ray.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each category, such as 0.5, with --ray.")] = 0.0,
) -> None:
    """Train a recipe; an interrupted run is resumed. Under torchrun, its processes train together."""
    loaded = load_recipe(recipe, tuple(changes), smoke)
    if ray:
        outcomes = train_on_cluster(loaded, data, runs, device, not resume, cpus, gpus)
    elif parallel > 1:
        flags = ["--data", str(data), "--runs", str(runs), "--device", device, *(["--smoke"] if smoke else [])]
        flags += [part for change in changes for part in ("--set", change)] + ([] if resume else ["--restart"])
        outcomes = train_in_parallel(["train", recipe, *flags], loaded, data, Console(), parallel)
    else:
        outcomes = train_recipe(loaded, data, runs, init_distributed(device), restart=not resume)
    failed = [outcome for outcome in map(_print_outcome, outcomes) if outcome.problem]
    if failed:
        problems = "; ".join(f"{outcome.name}: {outcome.problem}" for outcome in failed)
        raise RunsFailed(f"{len(failed)} of the runs failed, the others are finished. {problems}")


def plot(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs: runs/NAME or runs/NAME/CATEGORY.")],
) -> None:
    """Plot curves, confusion matrix and progress of runs from their metrics and sample grids."""
    for folder in folders:
        for path in plot_run(folder):
            print(path)


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
) -> None:
    """Compare the best scores of runs; for classifiers, also the top-3 error of each category (paper 003, table I)."""
    best = {name: max(read_rows(folder), key=lambda row: row["score"]) for name, folder in folders_by_name(folders).items()}
    print_columns(
        "score", {name: {key: value for key, value in row.items() if isinstance(value, float)} for name, row in best.items()}
    )
    if errors := {name: row["top3_error"] for name, row in best.items() if "top3_error" in row}:
        print_columns("top-3 error", errors)


def cross(
    recipe: Annotated[str, typer.Argument(help="A recipe with a run for each category, or a TOML file.")],
    data: Data = INDEX,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The chart to write; by default cross-category.png beside the runs.")] = None,
) -> None:
    """Colorize every category with every expert of a recipe, and chart the cost of wrong routes (paper 003, figure 9)."""
    loaded = load_recipe(recipe, tuple(changes))
    datasets, torch_device = Datasets(loaded.data, data), single_process(device).device
    folder = runs / loaded.name
    names = [name for name in recipe_categories(loaded, datasets) if (folder / name / BEST).is_file()]
    if not names:
        raise PlotError(f"there are no finished runs in {folder}: train {recipe} first.")
    experts = {name: load_colorizer(folder / name, torch_device) for name in names}
    table = cross_runs(experts, datasets, torch_device)
    path = out or folder / "cross-category.png"
    replace_file(path, charts.cross_category(table, {name: name for name in names}))
    print_columns("ΔE00 by expert, of pictures of", {expert: {name: table[name][expert] for name in names} for expert in names})
    print(path)


def judge(
    judge_run: Annotated[
        Path, typer.Argument(metavar="JUDGE", help="Folder of a run of a classifier of color pictures: li-judge.")
    ],
    colorizers: Annotated[list[Path], typer.Argument(help="Folders of finished runs of colorizers.")],
    data: Data = INDEX,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    limit: Limit = 0,
    temperatures: Annotated[
        str, typer.Option(help="Of the annealed mean, separated by commas; 1 is the mean.")
    ] = "0.2,0.38,0.6,0.89,1",
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    device: Device = "cpu",
) -> None:
    """Measure whether color helps a classifier: on gray, colorized, annealed and true pictures (paper 002)."""
    torch_device = single_process(device).device
    classifier = load_judge(str(judge_run), torch_device)
    colorizing = {name: load_colorizer(folder, torch_device) for name, folder in folders_by_name(colorizers).items()}
    sizes = {run.size for run in colorizing.values()}
    if len(sizes) > 1:
        raise DataError(f"the runs colorize at the sizes {sorted(sizes)}: judge runs of one size at a time.")
    (size,) = sizes
    pack = load_pack(select_entries(data, sets, split, limit=limit), classifier.categories, size, data.parent / "packs")
    batches = (batch.to(torch_device) for batch in plain_batches(pack, 128, size))
    judgment = judge_runs(classifier, colorizing, batches, _parse_temperatures(temperatures))
    if out is not None:
        rows = [scores.model_dump(mode="json") for scores in judgment.scores]
        replace_file(out, (json.dumps({"pictures": len(judgment.labels), "methods": rows}, indent=1) + "\n").encode())
    _print_judgment(judgment, classifier.categories, Console())


def _print_outcome(outcome: Outcome) -> Outcome:
    print(f"{outcome.name}: failed" if outcome.problem else f"{outcome.name}: {format_metrics(outcome.scores) or 'finished'}")
    return outcome


def _parse_temperatures(text: str) -> tuple[float, ...]:
    try:
        temperatures = tuple(float(part) for part in text.split(","))
    except ValueError:
        temperatures = ()
    if not temperatures or min(temperatures) <= 0:
        raise DataError(f"--temperatures is {text!r}: give numbers above 0, separated by commas.")
    return temperatures


def _print_judgment(judgment: RunJudgment, categories: tuple[str, ...], console: Console) -> None:
    table = Table("method", "accuracy", "minus gray's", "probability of the true class")
    for scores in judgment.scores:
        table.add_row(str(scores.method), f"{scores.accuracy:.1%}", f"{scores.gain.value:+.1%}", f"{scores.mean:.1%}")
    console.print(f"{len(judgment.labels)} pictures, judged by a classifier with {len(categories)} classes")
    console.print(table)
    shown = range(0, len(judgment.labels), -(-len(judgment.labels) // EXAMPLES))
    table = Table("truth", *(categories[judgment.labels[index]] for index in shown))
    for method, predicted in judgment.predicted.items():
        confidence = judgment.confidence[method]
        table.add_row(str(method), *(f"{categories[predicted[index]]} ({confidence[index]:.0%})" for index in shown))
    console.print(table)
