"""From a recipe and its pictures to the task that trains."""

from pathlib import Path

from training.config import Adversarial, Bins, Combined, Expert, Joint, Naming, Recipe
from training.fit import BEST
from training.material import Material
from training.tasks.adversarial import AdversarialTask
from training.tasks.base import Task
from training.tasks.bins import BinsTask
from training.tasks.combined import CombinedTask
from training.tasks.expert import ExpertTask
from training.tasks.joint import JointTask
from training.tasks.naming import NamingTask
from training.tasks.regression import RegressionTask
from training.team import Team


def decoder_before(recipe: Recipe, category: str, runs: Path) -> Path | None:
    """The checkpoint of the decoder that an expert goes on from, if it does from another one than its base's."""
    if not isinstance(recipe.task, Expert) or not recipe.task.start:
        return None
    return runs / recipe.task.start / (category if recipe.each else "") / BEST


def build_task(recipe: Recipe, material: Material, category: str, runs: Path, team: Team) -> Task:
    """The task of a recipe for one category; those that name pictures are for all categories at once.

    Raises:
        RecipeError, DataError, CheckpointError: the recipe cannot be followed; the message says why.
    """
    options = recipe.task
    earlier = runs / options.earlier / BEST if options.earlier else None
    if isinstance(options, Joint):
        return JointTask(recipe, material.train, material.val, material.tiny, earlier, team)
    if isinstance(options, Naming):
        return NamingTask(recipe, *material.named, team)
    if isinstance(options, Combined):
        return CombinedTask(recipe, *material.named, team)
    own, val = material.of(material.train, category), material.of(material.val, category)
    if isinstance(options, Expert):
        assert earlier is not None  # a recipe without a base is refused
        return ExpertTask(recipe, category, own, material.train, val, earlier, decoder_before(recipe, category, runs), team)
    if isinstance(options, Adversarial):
        return AdversarialTask(recipe, category, own, val, team)
    if isinstance(options, Bins):
        return BinsTask(recipe, category, own, val, earlier, team)
    return RegressionTask(recipe, category, own, val, team)
