"""Trains the categories of a recipe side by side on a Ray cluster; paper 004 trains its generators in parallel."""

import logging
from collections.abc import Iterator
from pathlib import Path

from training.config.recipe import Recipe
from training.config.section import RecipeError
from training.data.datasets import Datasets
from training.loop.distributed import single_process
from training.runs.train import Outcome, move_aside, recipe_categories, train_recipe

ATTEMPTS = 10  # of a run whose process or machine is lost; each continues from its checkpoint


def train_on_cluster(
    recipe: Recipe, index: Path, runs: Path, device: str, restart: bool, cpus: float, gpus: float
) -> Iterator[Outcome]:
    """As `train_recipe` with `per_category`, with a task of Ray for each category. A task that is lost is started again elsewhere,
    and resumes the run.

    Args:
        recipe: with `per_category`.
        index: the dataset index; it and the pictures are in a folder that all machines see.
        runs: the folder of runs, which all machines see.
        device: of torch.
        restart: whether existing runs are moved aside.
        cpus: cores of each task.
        gpus: GPUs of each task.

    Raises:
        RecipeError: the recipe trains one network, or the extra `scale` is not installed.
        DataError: the data have no categories.
    """
    if not recipe.per_category:
        raise RecipeError(f"the recipe {recipe.name} trains one network: --ray needs a recipe with `per_category = true`.")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RecipeError('--ray needs the extra scale: pip install "chromaroute[scale,train]".') from error
    datasets = Datasets(recipe.data, index)
    categories = recipe_categories(recipe, datasets)
    _ = datasets.train, datasets.val  # packed once, and not by every task
    ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False, ignore_reinit_error=True)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS)(train_category)
    if restart:  # only the first attempt moves runs aside
        for category in categories:
            move_aside(runs / recipe.name / category)
    arguments = (index.resolve(), runs.resolve(), device, max(1, int(cpus)))
    pending = {task.remote(recipe.model_copy(update={"categories": (name,)}), *arguments): name for name in categories}
    while pending:
        (reference, *_), _ = ray.wait(list(pending))
        name = pending.pop(reference)
        try:
            yield ray.get(reference)
        except Exception as error:  # the other categories are not affected
            yield Outcome(f"{recipe.name}/{name}", problem=str(error).strip().splitlines()[-1])


def train_category(recipe: Recipe, index: Path, runs: Path, device: str, threads: int) -> Outcome:
    """Train the only category of a recipe in this process, or resume it."""
    import torch

    torch.set_num_threads(threads)
    return next(train_recipe(recipe, index, runs, single_process(device)))
