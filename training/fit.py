"""The one training loop. It knows steps, checkpoints and progress; what a step does belongs to the task."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.errors import CheckpointError
from models.files import replace_file
from training.checkpoints import load_state, save_state
from training.config import Schedule
from training.tasks.base import Task

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.jsonl"


def fit(task: Task, schedule: Schedule, seed: int, folder: Path, origin: dict[str, Any]) -> dict[str, float]:
    """Run a task to its last step and return its best validation scores.

    `folder` gets `last.safetensors` (to go on from), `best.safetensors` (the highest validation `score`), `metrics.jsonl` (with the
    mean losses since the row before) and a sheet of samples at every validation. A run that was interrupted goes on where its last
    checkpoint was and, on a CPU, ends with the same bits as one that was not. `origin` says what the run is made from: recipe,
    data, base; it is kept in both checkpoints.

    Raises:
        CheckpointError: the folder has a run of another origin.
    """
    step, best = _resume(task, folder, origin)
    with (
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(),
        ) as progress,
        ThreadPoolExecutor(1) as ahead,
    ):  # fmt: skip
        bar = progress.add_task(folder.name, total=schedule.steps, completed=step, rate="")
        since, first = time.perf_counter(), step
        losses: dict[str, list[float]] = {}
        upcoming = ahead.submit(task.draw, step)
        while step < schedule.steps:
            batch = upcoming.result()
            if step + 1 < schedule.steps:
                upcoming = ahead.submit(task.draw, step + 1)
            torch.manual_seed(seed * 1_000_003 + step)  # the noise of a step depends on nothing that came before it
            for name, loss in task.step(batch, pace(schedule, step)).items():
                losses.setdefault(name, []).append(loss)
            step += 1
            rate = (step - first) * schedule.batch / (time.perf_counter() - since)
            progress.update(bar, completed=step, rate=f"{rate:.0f} pictures/s")
            if step % schedule.validate_every == 0 or step == schedule.steps:
                scores = task.validate()
                row = {**{name: sum(values) / len(values) for name, values in losses.items()}, **scores}
                losses = {}
                _append(folder / METRICS, {"step": step, "pictures_per_second": round(rate, 1), **row})
                replace_file(folder / "sheets" / f"{step:06}.png", task.sheet())
                improved = not best or scores["score"] > best["score"]
                if improved:
                    best = scores
                    save_state(folder / BEST, task.result(), {"step": step, "scores": scores, "origin": origin, **task.meta()})
                save_state(folder / LAST, task.state(), {"step": step, "best": best, "origin": origin})
                left = timedelta(seconds=round((schedule.steps - step) * schedule.batch / rate))
                line = ", ".join(f"{name} {value:.3f}" for name, value in row.items())
                mark = " (best)" if improved else ""
                progress.console.print(f"{folder.name} step {step}: {line}, {rate:.0f} pictures/s, {left} left{mark}")
    return best


def pace(schedule: Schedule, step: int) -> float:
    """The learning rate's factor at a step: a linear warm-up, then a cosine down to 0."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    return 0.5 * (1 + cos(pi * (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)))


def read_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """What was measured at each validation of a run, in order."""
    path = folder / METRICS
    if path.is_file():
        for line in path.read_text().splitlines():
            with suppress(json.JSONDecodeError):  # a run that was killed while it wrote its last line
                yield json.loads(line)


def _resume(task: Task, folder: Path, origin: dict[str, Any]) -> tuple[int, dict[str, float]]:
    if not (folder / LAST).is_file():
        replace_file(folder / METRICS, b"")
        return 0, {}
    state, meta = load_state(folder / LAST)
    if differing := [key for key in origin if meta.get("origin", {}).get(key) != origin[key]]:
        raise CheckpointError(
            f"{folder} has a run of another {' and '.join(differing)}: delete it, or choose another folder with --runs."
        )
    task.load(state)
    known = [row for row in read_metrics(folder) if row["step"] <= meta["step"]]
    replace_file(folder / METRICS, "".join(json.dumps(row) + "\n" for row in known).encode())
    return meta["step"], meta["best"]


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
