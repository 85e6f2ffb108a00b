"""From a recipe to its runs: one, or one for each category, in sequence or side by side; a failed one leaves the others alone."""

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
from training.checkpoints import file_digest
from training.config import Combined, Naming, Recipe, RecipeError
from training.data.manifest import DataError
from training.fit import BEST, fit
from training.lock import held
from training.material import GENERAL, Material
from training.summary import write_summary
from training.tasks.build import build_task, decoder_before
from training.team import Team, alone


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with its best scores, or with what went wrong."""

    name: str
    scores: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def run(recipe: Recipe, manifest: Path, runs: Path, team: Team | None = None, restart: bool = False) -> Iterator[Outcome]:
    """Train what the recipe asks for; yields each run when it has ended.

    With `each`, there is a run `NAME/CATEGORY` for every category, else one called `NAME`. Runs that were finished are not
    trained again, and one that was interrupted goes on; with `restart`, what is there is moved aside and all begin anew. Of several
    categories a failed one is an outcome with a problem, and the others are trained all the same.

    Raises:
        RecipeError, DataError, CheckpointError: the recipe cannot be followed; the message says why.
    """
    team = team or alone()
    material = Material(recipe.data, manifest)
    if not recipe.each:
        yield Outcome(recipe.name, _fit(recipe, material, GENERAL, runs, recipe.name, team, restart))
        return
    for category in wanted_categories(recipe, material):
        name = f"{recipe.name}/{category}"
        try:
            outcome = Outcome(name, _fit(recipe, material, category, runs, name, team, restart))
        except Exception as error:  # whatever it was, the other categories are not to suffer from it
            if team.size > 1:  # the other processes of the team would wait for this one for ever
                raise
            if not isinstance(error, ChromarouteError):
                Console(stderr=True).print_exception()
            outcome = Outcome(name, problem=str(error) or repr(error))
        yield outcome


def side_by_side(command: list[str], recipe: Recipe, manifest: Path, console: Console, count: int) -> Iterator[Outcome]:
    """As `run` with `each`, `count` categories at a time, each in a process of its own with its share of the cores.

    `command` are the arguments of `chromaroute-train` that train the recipe; what the processes print is passed on.

    Raises:
        RecipeError: the recipe trains one network, or its categories are not in the data, or torchrun shares the work already.
        DataError: the data have no categories.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("--parallel and torchrun share the work in different ways: use one of them.")
    if not recipe.each:
        raise RecipeError(f"the recipe {recipe.name} trains one network: only recipes with `each = true` go side by side.")
    material = Material(recipe.data, manifest)
    wanted = wanted_categories(recipe, material)
    _ = material.train, material.val  # made once, and not by every process
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
    children: list[subprocess.Popen[str]] = []

    def train(category: str) -> Outcome:
        name, last = f"{recipe.name}/{category}", ""
        arguments = [sys.executable, "-m", "training", *command, "--set", f"categories=[{json.dumps(category)}]"]
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            children.append(child)
            assert child.stdout is not None
            for text in child.stdout:
                if text.strip():
                    last = text.strip()
                    console.print(last, markup=False, highlight=False)
        return Outcome(name) if child.returncode == 0 else Outcome(name, problem=last)

    pool = ThreadPoolExecutor(count)
    try:
        for future in as_completed([pool.submit(train, category) for category in wanted]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:  # those that are left when we are told to stop
            child.terminate()


def wanted_categories(recipe: Recipe, material: Material) -> tuple[str, ...]:
    """The categories that a recipe trains a network for: those that it names, or all but *general*.

    Raises:
        RecipeError: one of those that it names is not in the data.
        DataError: the data have no categories.
    """
    wanted = recipe.categories or material.categories[:-1]
    if not wanted:
        there = ", ".join(sorted({entry.set for entry in material.entries}))
        raise DataError(
            f"{material.manifest} has no training pictures in the sets {', '.join(material.data.sets)}; it has {there}."
        )
    if strangers := sorted(set(wanted) - set(material.categories)):
        raise RecipeError(
            f"the recipe's categories {strangers} are not in the data: give some of {', '.join(material.categories)}."
        )
    return wanted


def _fit(recipe: Recipe, material: Material, category: str, runs: Path, name: str, team: Team, restart: bool) -> dict[str, Any]:
    origin = {
        "recipe": recipe.model_dump(mode="json", exclude={"categories"}),
        "data": material.digest,
        "validation": material.validation_digest,
    }
    if recipe.task.earlier:
        origin["base"] = file_digest(runs / recipe.task.earlier / BEST)
    if (before := decoder_before(recipe, category, runs)) is not None:
        origin["start"] = file_digest(before)
    folder = runs / name
    task = build_task(recipe, material, category, runs, team)
    if restart and team.rank == 0 and folder.exists():
        aside = folder.with_name(f".{folder.name}.{datetime.now():%Y%m%d-%H%M%S-%f}")
        folder.rename(aside)
        print(f"{name}: the run that was there is now {aside}")
    team.wait()
    with held(folder, team):
        scores = fit(task, recipe.schedule, recipe.seed, folder, origin, team)
        if team.rank == 0:
            write_summary(folder, recipe, material, None if isinstance(recipe.task, (Combined, Naming)) else category, team)
    return scores
