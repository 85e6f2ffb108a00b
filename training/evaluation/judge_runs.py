"""Judges the colors of trained runs on a pack of pictures: the table of paper 002."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.colorizers.zhang import Zhang
from models.errors import CheckpointError
from training.data.batches import Batch
from training.evaluation.judge import Judge, judge_scores
from training.evaluation.method import GRAY, TRUTH, Method
from training.evaluation.results import JudgeScores
from training.runs.trained import TrainedColorizer


@dataclass(frozen=True)
class RunJudgment:
    """The scores of each method, and its predicted classes and their probabilities `(n,)` for the pictures with these `labels`."""

    scores: list[JudgeScores]
    labels: NDArray[np.int64]
    predicted: dict[Method, NDArray[np.int64]]
    confidence: dict[Method, NDArray[np.float64]]


@torch.no_grad()
def judge_runs(
    judge: Judge, runs: Mapping[str, TrainedColorizer], batches: Iterable[Batch], temperatures: tuple[float, ...]
) -> RunJudgment:
    """Judge pictures in gray, colorized by each run, and in truth.

    The distributions of `Zhang` networks (paper 002) are decoded at each of the `temperatures` of the annealed mean.

    Raises:
        CheckpointError: the judge is not a run.
    """
    if judge.predict is None:
        raise CheckpointError(
            f"{judge.name} cannot judge runs: give the folder of a run of the task classification that reads color."
        )
    labels: list[int] = []
    probabilities: dict[Method, list[np.ndarray]] = {}
    for batch in batches:
        labels += batch.labels.tolist()
        predictions = {Method(name=GRAY): torch.zeros_like(batch.ab)}
        for name, run in runs.items():
            network = run.network
            if not isinstance(network, Zhang):
                predictions[Method(name=name)] = network(batch.L)
                continue
            logits = network.predict(batch.L)
            for temperature in temperatures:
                readout = "mean" if temperature == 1 else f"annealed T {temperature:g}"
                predictions[Method(name=f"{name}, {readout}")] = network.bins.annealed_mean(logits.float(), temperature)
        predictions[Method(name=TRUTH)] = batch.ab
        for method, ab in predictions.items():
            probabilities.setdefault(method, []).append(judge.predict(batch.L, ab).cpu().numpy())
    joined = {method: np.concatenate(parts) for method, parts in probabilities.items()}
    return RunJudgment(
        judge_scores(joined, np.array(labels)),
        np.array(labels),
        {method: values.argmax(axis=1) for method, values in joined.items()},
        {method: values.max(axis=1) for method, values in joined.items()},
    )
