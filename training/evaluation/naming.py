"""How good names are: top-1 and top-3, the confusion matrix, and both kinds of error of each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class NamingTally:
    """Counts over pictures whose class is known."""

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = list(categories)
        self.confusion = np.zeros((len(categories), len(categories)), dtype=int)
        self.in_top3 = np.zeros(len(categories), dtype=int)
        self.loss = 0.0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count pictures by their logits `(n,classes)` and labels `(n,)`."""
        self.loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        ranked = logits.topk(min(3, logits.shape[1])).indices.cpu()
        truth = labels.cpu()
        np.add.at(self.confusion, (truth.numpy(), ranked[:, 0].numpy()), 1)
        hits = (ranked == truth[:, None]).any(dim=1)
        self.in_top3 += torch.bincount(truth[hits], minlength=len(self.categories)).numpy()

    def scores(self) -> dict[str, Any]:
        """`naming_loss`, `top1`, `top3`, `confusion` (rows are the truth), and `top3_error` by category (paper 003's table I)."""
        counts = self.confusion.sum(axis=1)
        total = int(counts.sum())
        errors = {name: 1 - hits / count for name, hits, count in zip(self.categories, self.in_top3, counts, strict=True) if count}
        return {
            "naming_loss": self.loss / total,
            "top1": float(np.trace(self.confusion)) / total,
            "top3": float(self.in_top3.sum()) / total,
            "confusion": {"categories": self.categories, "counts": self.confusion.tolist()},
            "top3_error": {name: round(float(error), 4) for name, error in errors.items()},
        }


def error_types(categories: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, dict[str, float]]:
    """Both kinds of error of each class, as shares, out of a confusion matrix whose rows are the truth; paper 004, section 2.1.

    With the paper's hypothesis "it is of this class", `type1` is the share of its pictures that are taken for another class, and
    `type2` the share of all others' pictures that are taken for it (the paper divides by those of the one class that has such).
    """
    matrix = np.asarray(counts)
    found = {}
    for index, name in enumerate(categories):
        own, others = int(matrix[index].sum()), int(matrix.sum() - matrix[index].sum())
        taken = int(matrix[:, index].sum() - matrix[index, index])
        found[name] = {
            "type1": 1 - int(matrix[index, index]) / own if own else 0.0,
            "type2": taken / others if others else 0.0,
        }
    return found
