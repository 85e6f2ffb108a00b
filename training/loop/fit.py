"""The training loop. It knows steps and validations; a step is the business of the task, the folder that of the recorder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from training.config.recipe import Schedule
from training.loop.distributed import ProcessGroup
from training.loop.lr_schedule import lr_factor
from training.loop.run_recorder import RunRecorder
from training.loop.task import TrainingTask


def fit(
    task: TrainingTask, schedule: Schedule, seed: int, folder: Path, origin: dict[str, Any], group: ProcessGroup
) -> dict[str, Any]:
    """Train a task to its last step, and return the validation scores of the checkpoint that is kept.

    `folder` gets `last.safetensors` (to resume from), `best.safetensors` (the highest validation `score`, or the last one if the
    schedule says so), `metrics.jsonl` (with the mean losses since the row before), TensorBoard events, a sample grid for every
    validation, and the snapshots of the schedule. A run that was interrupted continues at its last checkpoint and, on a CPU, ends
    with the same bits as one that was not.

    Args:
        task: to be trained.
        schedule: of the recipe.
        seed: of dropout and other noise; the noise of a step does not depend on earlier steps.
        folder: of the run.
        origin: what the run is made from (recipe, data, base), stored in its checkpoints.
        group: of processes.

    Raises:
        CheckpointError: the folder contains a run of another origin.
        Diverged: a loss is infinite or not a number; the last checkpoint is kept.
        RecipeError: the batch cannot be divided among the processes.
    """
    recorder = RunRecorder(folder, task, schedule, origin, group)
    first = recorder.restore()
    if first == schedule.end:
        return recorder.best
    recorder.start(first)
    with recorder, ThreadPoolExecutor(1) as prefetcher:
        upcoming = prefetcher.submit(task.draw, first)
        for step in range(first, schedule.end):
            batch = group.rows(upcoming.result())
            if step + 1 < schedule.end:
                upcoming = prefetcher.submit(task.draw, step + 1)
            torch.manual_seed(seed * 1_000_003 + step + group.rank * 7_368_787)
            recorder.step(step + 1, task.step(batch, lr_factor(schedule, step)))
            if (step + 1) % schedule.validate_every == 0 or step + 1 == schedule.end:
                recorder.validate(step + 1)
    return recorder.best
