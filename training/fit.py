"""The one training loop. It knows steps, checkpoints and progress; what a step does belongs to the task."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.errors import CheckpointError, ChromarouteError
from models.atomic_files import replace_file
from training.checkpoints import load_state, save_state
from training.config import Schedule
from training.events import Events
from training.tasks.base import Task
from training.team import Team

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.jsonl"


class Diverged(ChromarouteError):
    """A loss is no longer a number."""


def fit(task: Task, schedule: Schedule, seed: int, folder: Path, origin: dict[str, Any], team: Team) -> dict[str, Any]:
    """Run a task to its last step and return its best validation scores.

    `folder` gets `last.safetensors` (to go on from), `best.safetensors` (the highest validation `score`, or the last if the
    schedule says so), `metrics.jsonl` (with the mean losses since the row before), TensorBoard's events, a sheet of samples at
    every validation, and the snapshots that the schedule asks for. A run that was interrupted goes on where its last checkpoint
    was and, on a CPU, ends with the same bits as one that was not. `origin` says what the run is made from: recipe, data, base; it
    is kept in both checkpoints.

    Raises:
        CheckpointError: the folder has a run of another origin.
        Diverged: a loss is infinite or no number; the last checkpoint stays.
        RecipeError: the batch cannot be dealt to the processes of the team.
    """
    step, best = _resume(task, folder, origin, team)
    if step == schedule.end:
        return best
    first, since, seen = step, time.perf_counter(), _seconds(folder)
    console = Console(quiet=team.rank > 0)
    losses: dict[str, list[float]] = {}
    with (
        Events(folder, read_metrics(folder), team.rank == 0) as events,
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), console=console,
        ) as progress,
        ThreadPoolExecutor(1) as ahead,
    ):  # fmt: skip
        bar = progress.add_task(escape(folder.name), total=schedule.end, completed=step, rate="")
        upcoming = ahead.submit(task.draw, step)
        while step < schedule.end:
            batch = team.rows(upcoming.result())
            if step + 1 < schedule.end:
                upcoming = ahead.submit(task.draw, step + 1)
            # the noise of a step depends on nothing that came before it
            torch.manual_seed(seed * 1_000_003 + step + team.rank * 7_368_787)
            for name, loss in task.step(batch, pace(schedule, step)).items():
                if not isfinite(loss):
                    raise Diverged(
                        f"{folder.name}: the loss {name} is {loss} at step {step}. The checkpoint before it is kept: "
                        "lower schedule.learning_rate and begin anew with --restart."
                    )
                losses.setdefault(name, []).append(loss)
            step += 1
            rate = (step - first) * schedule.batch / (time.perf_counter() - since)
            progress.update(bar, completed=step, rate=f"{rate:.0f} pictures/s")
            if schedule.snapshot_every and step % schedule.snapshot_every == 0 and team.rank == 0:
                save_state(folder / "snapshots" / f"{step:06}.safetensors", task.result(), {"step": step, **task.meta()})
            if step % schedule.validate_every and step < schedule.end:
                continue
            means = team.mean({name: sum(values) / len(values) for name, values in losses.items()})
            losses = {}
            if team.rank == 0:
                scores = task.validate()
                row = {**means, **scores}
                concerns = {"concerns": found} if (found := task.concerns(row)) else {}
                seconds = round(seen + time.perf_counter() - since, 1)
                row = {"step": step, "seconds": seconds, "pictures_per_second": round(rate, 1), **row, **concerns}
                _append(folder / METRICS, row)
                events.add(row)
                replace_file(folder / "sheets" / f"{step:06}.png", task.sheet())
                improved = not best or schedule.keep == "last" or scores["score"] > best["score"]
                if improved:
                    best = scores
                    save_state(folder / BEST, task.result(), {"step": step, "scores": scores, "origin": origin, **task.meta()})
                save_state(folder / LAST, task.state(), {"step": step, "best": best, "origin": origin})
                left = timedelta(seconds=round((schedule.end - step) * schedule.batch / rate))
                mark = " (kept)" if improved else ""
                progress.console.print(f"{folder.name} step {step}: {line(row)}, {left} left{mark}", markup=False, highlight=False)
                for concern in concerns.get("concerns", ()):
                    progress.console.print(f"{folder.name}: {concern}", style="yellow", markup=False, highlight=False)
            team.wait()
    return best


def line(row: dict[str, Any]) -> str:
    """The numbers of a row of metrics, in words for a terminal."""
    return ", ".join(f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float) and name != "seconds")


def pace(schedule: Schedule, step: int) -> float:
    """The learning rate's factor at a step: a linear warm-up, then constant or a cosine down to 0."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if schedule.pace == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)))


def read_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """What was measured at each validation of a run, in order."""
    path = folder / METRICS
    if path.is_file():
        for text in path.read_text(errors="replace").splitlines():
            with suppress(json.JSONDecodeError):  # a run that was killed while it wrote its last line
                row = json.loads(text)
                if isinstance(row, dict) and {"step", "score"} <= row.keys():
                    yield row


def _resume(task: Task, folder: Path, origin: dict[str, Any], team: Team) -> tuple[int, dict[str, Any]]:
    if not (folder / LAST).is_file():
        team.wait()  # so that nobody sees what process 0 writes next
        if team.rank == 0:
            replace_file(folder / METRICS, b"")
        return 0, {}
    state, meta = load_state(folder / LAST)
    if differing := [key for key in origin if meta.get("origin", {}).get(key) != origin[key]]:
        raise CheckpointError(
            f"{folder} has a run of another {' and '.join(differing)}: "
            "begin anew with --restart, or choose another folder with --runs."
        )
    task.load(state)
    team.wait()
    if team.rank == 0:
        known = "".join(json.dumps(row) + "\n" for row in read_metrics(folder) if row["step"] <= meta["step"]).encode()
        if (folder / METRICS).read_bytes() != known:
            replace_file(folder / METRICS, known)
    return meta["step"], meta["best"]


def _seconds(folder: Path) -> float:
    """How long the run had trained before it was interrupted."""
    return max((row.get("seconds", 0.0) for row in read_metrics(folder)), default=0.0)


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
