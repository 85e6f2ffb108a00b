"""Metrics of classification: top-1, top-3, the confusion matrix, and both types of error of each class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from torch import Tensor
from torch.nn import functional as F


class ClassificationMetrics:
    """Accumulates logits and labels of pictures with known classes."""

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = list(categories)
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add pictures by their logits `(n,classes)` and labels `(n,)`; those with a negative label are skipped."""
        labeled = labels >= 0
        self._logits.append(logits[labeled].float().cpu())
        self._labels.append(labels[labeled].cpu())

    def compute(self) -> dict[str, Any]:
        """`val_class_loss`, `top1`, `top3`, `confusion` (rows are the truth), `top3_error` by category (paper 003, table I)."""
        logits, labels = torch.cat(self._logits), torch.cat(self._labels)
        counts = confusion_matrix(labels, logits.argmax(dim=1), labels=range(len(self.categories)))
        top3 = {
            name: _top3(logits[labels == index], labels[labels == index])
            for index, name in enumerate(self.categories)
            if (labels == index).any()
        }
        return {
            "val_class_loss": float(F.cross_entropy(logits, labels)),
            "top1": float(np.trace(counts)) / len(labels),
            "top3": _top3(logits, labels),
            "confusion": {"categories": self.categories, "counts": counts.tolist()},
            "top3_error": {name: round(1 - accuracy, 4) for name, accuracy in top3.items()},
        }


def error_types(categories: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, tuple[float, float]]:
    """The errors of type 1 and type 2 of each class, of a confusion matrix whose rows are the truth; paper 004, section 2.1.

    With the paper's hypothesis "it is of this class", type 1 is the share of its pictures that are assigned to another class, and
    type 2 the share of all other pictures that are assigned to it (the paper divides by those of the one class that has such
    errors).
    """
    matrix = np.asarray(counts)
    own, correct, assigned, total = matrix.sum(axis=1), np.diag(matrix), matrix.sum(axis=0), matrix.sum()
    return {
        name: (
            float(1 - correct[index] / own[index]) if own[index] else 0.0,
            float((assigned[index] - correct[index]) / (total - own[index])) if total > own[index] else 0.0,
        )
        for index, name in enumerate(categories)
    }


def _top3(logits: Tensor, labels: Tensor) -> float:
    classes = logits.shape[1]
    if classes <= 3:  # which scikit-learn refuses
        return 1.0
    return float(top_k_accuracy_score(labels, logits, k=3, labels=range(classes)))
