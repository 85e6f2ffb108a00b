"""The tasks that a recipe can train, by `task.kind`. Each task owns its networks, losses and backward passes."""

from typing import Any

from training.config.section import RecipeError
from training.tasks.adversarial import AdversarialTask
from training.tasks.base import Task, TaskContext
from training.tasks.bins import BinsTask
from training.tasks.classification import ClassificationTask
from training.tasks.combined import CombinedTask
from training.tasks.expert import ExpertTask
from training.tasks.joint import JointTask
from training.tasks.regression import RegressionTask

__all__ = ["TASKS", "Task", "TaskContext", "build_task"]

TASKS: dict[str, type[Task[Any]]] = {
    "joint": JointTask,
    "expert": ExpertTask,
    "regression": RegressionTask,
    "bins": BinsTask,
    "combined": CombinedTask,
    "classification": ClassificationTask,
    "adversarial": AdversarialTask,
}


def build_task(context: TaskContext) -> Task[Any]:
    """The task of a recipe.

    Raises:
        RecipeError, DataError, CheckpointError: the recipe cannot be followed; the message says why.
    """
    recipe = context.recipe
    task = TASKS[recipe.task.kind]
    if recipe.per_category and not task.is_per_category:
        raise RecipeError(f"the task {recipe.task.kind} trains one network for all categories: set per_category = false.")
    return task(recipe.task, context)
