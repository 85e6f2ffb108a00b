"""Trains the runs of a recipe: one, or one for each category, in sequence or in parallel. A failure does not stop the others."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from models.errors import ChromarouteError
from training.config.recipe import Recipe
from training.config.section import RecipeError
from training.data.dataset_index import DataError
from training.data.datasets import GENERAL, Datasets
from training.loop.checkpoints import file_digest
from training.loop.distributed import ProcessGroup, single_process
from training.loop.fit import fit
from training.loop.run_lock import lock_run
from training.runs.summary import write_summary
from training.tasks import TaskContext, build_task
from training.tasks.expert import initial_decoder


@dataclass(frozen=True)
class Outcome:
    """The end of a run: its best scores, or the problem."""

    name: str
    scores: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def train_recipe(
    recipe: Recipe, index: Path, runs: Path, group: ProcessGroup | None = None, restart: bool = False
) -> Iterator[Outcome]:
    """Train the runs of a recipe; yields each when it has ended.

    With `per_category` there is a run `NAME/CATEGORY` for every category, otherwise one run `NAME`. Finished runs are not trained
    again, and interrupted ones are resumed; with `restart`, existing runs are moved aside and started again. Of several categories,
    a failed one yields an outcome with a problem, and the others are trained all the same.

    Raises:
        RecipeError, DataError, CheckpointError: the recipe cannot be followed; the message says why.
    """
    group = group or single_process()
    datasets = Datasets(recipe.data, index, group.device)
    if not recipe.per_category:
        scores = _train(TaskContext(recipe, datasets, GENERAL, runs, group), runs / recipe.name, restart)
        yield Outcome(recipe.name, scores)
        return
    for category in recipe_categories(recipe, datasets):
        name = f"{recipe.name}/{category}"
        try:
            outcome = Outcome(name, _train(TaskContext(recipe, datasets, category, runs, group), runs / name, restart))
        except Exception as error:  # of any kind, because the other categories are not affected
            if group.size > 1:  # the other processes would wait for this one forever
                raise
            if not isinstance(error, ChromarouteError):
                Console(stderr=True).print_exception()
            outcome = Outcome(name, problem=str(error) or repr(error))
        yield outcome


def train_in_parallel(command: list[str], recipe: Recipe, index: Path, console: Console, count: int) -> Iterator[Outcome]:
    """As `train_recipe` with `per_category`, with `count` categories at a time, each in its own process with its share of the
    cores.

    Args:
        command: the arguments of `chromaroute-train` that train the recipe.
        recipe: with `per_category`.
        index: the dataset index.
        console: on which the output of the processes is printed.
        count: number of processes.

    Raises:
        RecipeError: the recipe trains one network, its categories are not in the data, or torchrun distributes the work already.
        DataError: the data have no categories.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("--parallel and torchrun distribute the work in different ways: use one of them.")
    if not recipe.per_category:
        raise RecipeError(f"the recipe {recipe.name} trains one network: --parallel needs a recipe with `per_category = true`.")
    datasets = Datasets(recipe.data, index)
    categories = recipe_categories(recipe, datasets)
    _ = datasets.train, datasets.val  # packed once, and not by every process
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
    processes: list[subprocess.Popen[str]] = []

    def train(category: str) -> Outcome:
        name, last = f"{recipe.name}/{category}", ""
        arguments = [sys.executable, "-m", "training", *command, "--set", f"categories=[{json.dumps(category)}]"]
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            processes.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    last = line.strip()
                    console.print(last, markup=False, highlight=False)
        return Outcome(name) if process.returncode == 0 else Outcome(name, problem=last)

    pool = ThreadPoolExecutor(count)
    try:
        for future in as_completed([pool.submit(train, category) for category in categories]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # that still run if this is interrupted
            process.terminate()


def recipe_categories(recipe: Recipe, datasets: Datasets) -> tuple[str, ...]:
    """The categories for which a recipe trains a network: those that it lists, or all except *general*.

    Raises:
        RecipeError: a listed category is not in the data.
        DataError: the data have no categories.
    """
    categories = recipe.categories or datasets.categories[:-1]
    if not categories:
        sets = ", ".join(sorted({entry.set for entry in datasets.entries}))
        raise DataError(
            f"{datasets.index} has no training pictures in the sets {', '.join(datasets.data.sets)}; its sets are {sets}."
        )
    if unknown := sorted(set(categories) - set(datasets.categories)):
        raise RecipeError(
            f"the categories {unknown} of the recipe are not in the data: give some of {', '.join(datasets.categories)}."
        )
    return categories


def _train(context: TaskContext, folder: Path, restart: bool) -> dict[str, Any]:
    recipe, datasets, group = context.recipe, context.datasets, context.group
    origin = {
        "recipe": recipe.model_dump(mode="json", exclude={"categories"}),
        "data": datasets.digest,
        "validation": datasets.validation_digest,
    }
    if context.earlier_checkpoint is not None:
        origin["base"] = file_digest(context.earlier_checkpoint)
    if (decoder := initial_decoder(recipe, context.category, context.runs)) is not None:
        origin["initial_decoder"] = file_digest(decoder)
    task = build_task(context)
    if restart and group.is_main:
        move_aside(folder)
    group.barrier()
    with lock_run(folder, group):
        scores = fit(task, recipe.schedule, recipe.seed, folder, origin, group)
        if group.is_main:
            write_summary(folder, recipe, datasets, context.category if task.is_per_category else None, group)
    return scores


def move_aside(folder: Path) -> None:
    """Rename the folder of a run, if it exists, so that the run starts again."""
    if folder.exists():
        aside = folder.with_name(f".{folder.name}.{datetime.now():%Y%m%d-%H%M%S-%f}")
        folder.rename(aside)
        print(f"{folder.name}: the existing run was moved to {aside}")
