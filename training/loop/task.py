"""What the training loop needs from a task."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from training.data.batches import Batch


class TrainingTask(ABC):
    """One thing to train: it owns its networks, losses, optimizers and backward passes.

    `draw` is a pure function of the step, and everything that changes is in `state`, so that a run can be resumed exactly.
    """

    @abstractmethod
    def draw(self, step: int) -> Batch:
        """The batch of a step."""

    @abstractmethod
    def step(self, batch: Batch, lr_factor: float) -> dict[str, float]:
        """Run one update with the learning rate times `lr_factor`; returns the losses."""

    @abstractmethod
    def validate(self) -> dict[str, Any]:
        """Scores on the validation pictures. `score` decides which checkpoint is best, higher is better.

        Besides numbers there may be tables: `confusion`, and `top3_error` by category.
        """

    def warnings(self, row: dict[str, Any]) -> list[str]:
        """Signs of trouble in the losses and scores of a validation, a sentence each; training continues."""
        return []

    @abstractmethod
    def sample_grid(self) -> bytes:
        """A PNG of validation pictures in columns: gray, colorized, true; or, for a classifier, with their classes."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """The tensors of the checkpoint."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Plain values that are stored with `result`, from which the network can be rebuilt."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that is needed to resume."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Resume from a `state`."""
