"""The common parts of tasks: their inputs, and tasks that train a colorizer."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from torch import Tensor, nn

from models.colorizers import Colorizer
from training.config.arguments import check_arguments
from training.config.recipe import Recipe
from training.config.section import RecipeError
from training.config.task_options import TaskOptions
from training.data.batches import Batch, plain_batches, training_batch
from training.data.datasets import Datasets
from training.data.packs import Pack
from training.loop.distributed import ProcessGroup
from training.loop.run_folder import BEST
from training.loop.task import TrainingTask
from training.loop.train_state import TrainState
from training.metrics.validation import color_scores, sample_grid

Network = TypeVar("Network", bound=nn.Module)
OptionsT = TypeVar("OptionsT", bound=TaskOptions)


@dataclass(frozen=True)
class TaskContext:
    """The inputs of a task.

    Args:
        recipe: of the run.
        datasets: its pictures.
        category: that is trained on; *general* for all pictures.
        runs: the folder of all runs, in which earlier runs are found.
        group: of processes.
    """

    recipe: Recipe
    datasets: Datasets
    category: str
    runs: Path
    group: ProcessGroup

    @property
    def earlier_checkpoint(self) -> Path | None:
        """The best checkpoint of the run that this one builds on, if there is one."""
        earlier = self.recipe.task.earlier_run
        return self.runs / earlier / BEST if earlier else None

    def packs(self) -> tuple[Pack, Pack]:
        """Training and validation pictures of the category.

        Raises:
            DataError: there are none.
        """
        own = self.datasets.of_category(self.datasets.train, self.category)
        return own, self.datasets.of_category(self.datasets.val, self.category)


class Task(TrainingTask, Generic[OptionsT]):
    """A task of a recipe. Every task has this constructor, and is listed in `TASKS` by its kind.

    Raises:
        RecipeError: the options do not fit together, or do not fit the data.
        DataError: pictures are missing.
        CheckpointError: an earlier run or pretrained weights cannot be loaded.
    """

    is_per_category: ClassVar[bool] = True  # whether it can train one network per category

    def __init__(self, options: OptionsT, context: TaskContext) -> None:
        self.options, self.context = options, context
        self.recipe, self.group = context.recipe, context.group

    train_state: TrainState
    train_pack: Pack
    val_pack: Pack

    def draw(self, step: int) -> Batch:
        schedule = self.recipe.schedule
        return training_batch(
            self.train_pack, step, schedule.batch, schedule.size_at(step), self.recipe.seed, self.recipe.data
        )  # fmt: skip

    def validation_batches(self) -> Iterator[Batch]:
        """All validation pictures, or as many as the schedule uses, once."""
        data, size = self.recipe.data, self.recipe.schedule.validation_size
        for batch in plain_batches(self.validation_pack(), 64, size, data.normalize_tones):
            yield batch.to(self.group.device)

    def validation_pack(self) -> Pack:
        """The pictures of `validation_batches`."""
        return self.val_pack.spread(self.recipe.schedule.validation_pictures or len(self.val_pack))

    def sample_batch(self) -> Batch:
        """The pictures of the sample grid."""
        data, size = self.recipe.data, self.recipe.schedule.validation_size
        return next(plain_batches(self.val_pack.spread(12), 12, size, data.normalize_tones)).to(self.group.device)

    def state(self) -> dict[str, Tensor]:
        return self.train_state.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.train_state.load(state)


class ColorizationTask(Task[OptionsT]):
    """A task that trains a colorizer, which is scored and shown on the validation pictures."""

    @abstractmethod
    def predict(self, L: Tensor) -> Tensor:
        """Ab `(n,2,h',w')` of lightness `(n,1,h,w)`, with averaged weights."""

    def validate(self) -> dict[str, Any]:
        scores = color_scores(self.predict, self.validation_batches())
        return {"score": -scores["delta_e"], **scores}

    def sample_grid(self) -> bytes:
        return sample_grid(self.predict, self.sample_batch())


class SingleNetworkTask(ColorizationTask[OptionsT]):
    """A task that trains one colorizer on one pack of pictures."""

    def predict(self, L: Tensor) -> Tensor:
        with self.train_state.autocast:
            ab: Tensor = self.colorizer()(L)
        return ab

    def result(self) -> dict[str, Tensor]:
        return {f"expert.{name}": tensor for name, tensor in self.colorizer().own_state().items()}

    def colorizer(self) -> Colorizer:
        """The colorizer that is validated and kept."""
        return cast(Colorizer, self.train_state.evaluated())


def build_network(name: str, kind: Callable[..., Network], *parts: Any, **arguments: Any) -> Network:
    """A network with the `task.arguments` of a recipe.

    Raises:
        RecipeError: the arguments are not valid.
    """
    check_arguments(name, kind, arguments, skip=len(parts))
    try:
        return kind(*parts, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"task.arguments are not valid for {name}: {error}") from error
