"""The cross-category table: every category colorized by every expert shows the cost of wrong routes (paper 003, figure 9)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from rich.progress import track

from training.data.batches import plain_batches
from training.data.datasets import Datasets
from training.metrics.color import ciede2000
from training.metrics.validation import merge_lab, rgb_bytes
from training.runs.trained import TrainedColorizer

PICTURES = 60  # of a category, at most


def cross_category_table(categories: Sequence[str], errors: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The mean errors of the pictures of each category (outer keys) by expert, from those of each picture and its category."""
    rows: dict[str, list[Mapping[str, float]]] = {}
    for category, by_expert in zip(categories, errors, strict=True):
        rows.setdefault(category, []).append(by_expert)
    return {
        name: {expert: float(np.mean([row[expert] for row in rows[name]])) for expert in rows[name][0]} for name in sorted(rows)
    }


@torch.no_grad()
def cross_runs(experts: Mapping[str, TrainedColorizer], datasets: Datasets, device: torch.device) -> dict[str, dict[str, float]]:
    """The table for the runs of a recipe, by category, over ΔE00 of validation pictures at the training size.

    Raises:
        DataError: a category has no validation pictures.
    """
    categories: list[str] = []
    errors: list[dict[str, float]] = []
    for category in track(list(experts), description="cross-category table"):
        pack = datasets.of_category(datasets.val, category).spread(PICTURES)
        rows: list[dict[str, float]] = [{} for _ in range(len(pack))]
        for name, expert in experts.items():
            batches = (batch.to(device) for batch in plain_batches(pack, 32, expert.size, expert.normalize_tones))
            pairs = (
                pair
                for batch in batches
                for pair in zip(
                    rgb_bytes(merge_lab(batch.L, expert.network(batch.L))), rgb_bytes(merge_lab(batch.L, batch.ab)), strict=True
                )
            )
            for row, (predicted, truth) in zip(rows, pairs, strict=True):
                row[name] = ciede2000(predicted, truth)
        categories += [category] * len(pack)
        errors += rows
    return cross_category_table(categories, errors)
