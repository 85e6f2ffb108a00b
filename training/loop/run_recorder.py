"""Records a run in its folder: checkpoints, metrics, sample grids, TensorBoard events, snapshots, and progress in the terminal."""

import json
import time
from datetime import timedelta
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.atomic_files import replace_file
from models.errors import CheckpointError, ChromarouteError
from training.config.recipe import Schedule
from training.loop.checkpoints import load_state, save_state
from training.loop.distributed import ProcessGroup
from training.loop.run_folder import BEST, LAST, METRICS, SAMPLES, SNAPSHOTS, append_metrics, format_metrics, read_metrics
from training.loop.task import TrainingTask
from training.loop.tensorboard import TensorBoardWriter


class Diverged(ChromarouteError):
    """A loss is infinite or not a number."""


class RunRecorder:
    """Restores a run from its folder, and records its progress. Only the main process writes.

    Args:
        folder: of the run.
        task: that is trained.
        schedule: of the recipe.
        origin: what the run is made from (recipe, data, base), stored in its checkpoints.
        group: of processes.
    """

    def __init__(self, folder: Path, task: TrainingTask, schedule: Schedule, origin: dict[str, Any], group: ProcessGroup) -> None:
        self.folder, self.task, self.schedule, self.origin, self.group = folder, task, schedule, origin, group
        self.best: dict[str, Any] = {}
        self._losses: dict[str, list[float]] = {}

    def restore(self) -> int:
        """Restore the last checkpoint; returns the step to continue with, 0 for a new run.

        Raises:
            CheckpointError: the folder contains a run of another origin.
        """
        if not (self.folder / LAST).is_file():
            self.group.barrier()  # before the main process writes to the folder
            if self.group.is_main:
                replace_file(self.folder / METRICS, b"")
            return 0
        state, meta = load_state(self.folder / LAST)
        if differing := [key for key in self.origin if meta.get("origin", {}).get(key) != self.origin[key]]:
            raise CheckpointError(
                f"{self.folder} contains a run with another {' and '.join(differing)}: "
                "start again with --restart, or choose another folder with --runs."
            )
        self.task.load(state)
        self.group.barrier()
        if self.group.is_main:
            self._drop_rows_after(meta["step"])
        self.best = meta["best"]
        return int(meta["step"])

    def start(self, step: int) -> None:
        """Start the clock and the progress bar at a step."""
        self._first_step, self._start_time = step, time.perf_counter()
        self._earlier_seconds = max((row.get("seconds", 0.0) for row in read_metrics(self.folder)), default=0.0)
        self._tensorboard = TensorBoardWriter(self.folder, read_metrics(self.folder), self.group.is_main)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), console=Console(quiet=not self.group.is_main),
        )  # fmt: skip
        self._progress.start()
        self._bar = self._progress.add_task(escape(self.folder.name), total=self.schedule.end, completed=step, rate="")

    def __enter__(self) -> "RunRecorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()
        self._tensorboard.close()

    def step(self, step: int, losses: dict[str, float]) -> None:
        """Record the losses of the step before `step`, and a snapshot if one is due.

        Raises:
            Diverged: a loss is infinite or not a number; the last checkpoint is kept.
        """
        for name, loss in losses.items():
            if not isfinite(loss):
                raise Diverged(
                    f"{self.folder.name}: the loss {name} is {loss} at step {step - 1}. The checkpoint before it is kept: "
                    "lower schedule.learning_rate and start again with --restart."
                )
            self._losses.setdefault(name, []).append(loss)
        self._progress.update(self._bar, completed=step, rate=f"{self._rate(step):.0f} pictures/s")
        if self.schedule.snapshot_every and step % self.schedule.snapshot_every == 0 and self.group.is_main:
            save_state(self.folder / SNAPSHOTS / f"{step:06}.safetensors", self.task.result(), {"step": step, **self.task.meta()})

    def validate(self, step: int) -> None:
        """Validate, append a row of metrics, and save the checkpoints."""
        losses = self.group.average({name: sum(values) / len(values) for name, values in self._losses.items()})
        self._losses = {}
        if self.group.is_main:
            scores = self.task.validate()
            row = self._row(step, {**losses, **scores})
            append_metrics(self.folder, row)
            self._tensorboard.add(row)
            replace_file(self.folder / SAMPLES / f"{step:06}.png", self.task.sample_grid())
            is_kept = not self.best or self.schedule.keep == "last" or scores["score"] > self.best["score"]
            if is_kept:
                self.best = scores
                meta = {"step": step, "scores": scores, "origin": self.origin, **self.task.meta()}
                save_state(self.folder / BEST, self.task.result(), meta)
            save_state(self.folder / LAST, self.task.state(), {"step": step, "best": self.best, "origin": self.origin})
            self._print(step, row, is_kept)
        self.group.barrier()

    def _row(self, step: int, values: dict[str, Any]) -> dict[str, Any]:
        seconds = round(self._earlier_seconds + time.perf_counter() - self._start_time, 1)
        warnings = {"warnings": found} if (found := self.task.warnings(values)) else {}
        return {"step": step, "seconds": seconds, "pictures_per_second": round(self._rate(step), 1), **values, **warnings}

    def _print(self, step: int, row: dict[str, Any], is_kept: bool) -> None:
        left = timedelta(seconds=round((self.schedule.end - step) * self.schedule.batch / self._rate(step)))
        text = f"{self.folder.name} step {step}: {format_metrics(row)}, {left} left{' (kept)' if is_kept else ''}"
        self._progress.console.print(text, markup=False, highlight=False)
        for warning in row.get("warnings", ()):
            self._progress.console.print(f"{self.folder.name}: {warning}", style="yellow", markup=False, highlight=False)

    def _rate(self, step: int) -> float:
        """Pictures a second."""
        return (step - self._first_step) * self.schedule.batch / (time.perf_counter() - self._start_time)

    def _drop_rows_after(self, step: int) -> None:
        """Remove the metrics of validations after the last checkpoint."""
        rows = "".join(json.dumps(row) + "\n" for row in read_metrics(self.folder) if row["step"] <= step).encode()
        if (self.folder / METRICS).read_bytes() != rows:
            replace_file(self.folder / METRICS, rows)
