"""What the loop asks of a task: it owns its networks, losses, optimizers and backward."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from models.colorizers import Colorizer
from training.config import Recipe, RecipeError
from training.data.batches import Batch, plain_batches, training_batch
from training.data.packs import Pack
from training.evaluation.validation import color_scores, sample_sheet
from training.learner import Learner
from training.team import Team

Network = TypeVar("Network", bound=nn.Module)


class Task(ABC):
    """One thing to train. `draw` is a pure function of the step; everything that changes is in `state`."""

    @abstractmethod
    def draw(self, step: int) -> Batch:
        """The batch of a step."""

    @abstractmethod
    def step(self, batch: Batch, pace: float) -> dict[str, float]:
        """One update, with the learning rate times `pace`; returns the losses."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Scores on the validation pictures; `score` is the one that decides which checkpoint is best.

        Beside numbers there may be tables to draw: `confusion`, and `top3_error` by category.
        """

    def concerns(self, row: dict[str, Any]) -> list[str]:
        """What looks wrong in the losses and scores of a validation, a sentence each; training goes on."""
        return []

    @abstractmethod
    def sheet(self) -> bytes:
        """A PNG of validation pictures, a column each: gray, colorized, true; or, for a namer, with their names."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """The tensors worth policy."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Plain values that belong with `result`: whatever builds the network again."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that is needed to go on."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`."""


class Painter(Task):
    """A task whose answer is color: scored and shown by what it paints on the validation pictures."""

    recipe: Recipe
    team: Team
    val_pack: Pack
    learner: Learner

    @abstractmethod
    def paint(self, L: Tensor) -> Tensor:
        """Ab of lightness, by the averaged weights."""

    def validate(self) -> dict[str, Any]:
        scores = color_scores(self.paint, self.validation())
        return {"score": -scores["delta_e"], **scores}

    def sheet(self) -> bytes:
        batch = next(plain_batches(self.val_pack.spread(12), 12, self.recipe.schedule.validation_size))
        return sample_sheet(self.paint, batch.to(self.team.device))

    def validation(self) -> Iterator[Batch]:
        """The validation pictures, each once."""
        for batch in plain_batches(validation_pack(self.recipe, self.val_pack), 64, self.recipe.schedule.validation_size):
            yield batch.to(self.team.device)

    def state(self) -> dict[str, Tensor]:
        return self.learner.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.learner.load(state)


class NetworkPainter(Painter):
    """A painter that is one network, of its own pack of pictures, and reads nothing but L."""

    train_pack: Pack

    def draw(self, step: int) -> Batch:
        return drawn(self.recipe, self.train_pack, step)

    def paint(self, L: Tensor) -> Tensor:
        with self.learner.autocast:
            ab: Tensor = self.averaged()(L)
        return ab

    def result(self) -> dict[str, Tensor]:
        return {f"expert.{name}": tensor for name, tensor in self.averaged().own_state().items()}

    def averaged(self) -> Colorizer:
        """The network with its averaged weights, as it is validated and kept."""
        return cast(Colorizer, self.learner.kept())


def built(name: str, kind: Callable[..., Network], *parts: Any, **arguments: Any) -> Network:
    """A network of the recipe's `task.arguments`.

    Raises:
        RecipeError: they cannot be followed.
    """
    try:
        return kind(*parts, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"task.arguments of {name} cannot be followed: {error}") from error


def validation_pack(recipe: Recipe, pack: Pack) -> Pack:
    """The validation pictures, or as many of them as the schedule wants."""
    return pack.spread(recipe.schedule.validation_pictures or len(pack))


def drawn(recipe: Recipe, pack: Pack, step: int) -> Batch:
    """The batch of a step as the recipe's schedule and data say."""
    schedule = recipe.schedule
    return training_batch(pack, step, schedule.batch, schedule.size_at(step), recipe.seed, recipe.data)
