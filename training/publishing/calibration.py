"""Calibration of a router on validation pictures: the temperature of its confidences, and its threshold."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.vgg import VggTrunk
from training.data.batches import Batch
from training.metrics.calibration import coverage_accuracy, threshold_for_risk


@torch.no_grad()
def choose_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the lowest cross-entropy on validation pictures (Guo et al. 2017, section 4.2)."""
    candidates = [round(0.5 + 0.025 * step, 3) for step in range(81)]
    return min(candidates, key=lambda temperature: float(F.cross_entropy(logits / temperature, labels)))


def choose_threshold(probabilities: Tensor, labels: Tensor, risk: float) -> float:
    """The lowest threshold at which at most a share `risk` of the accepted pictures is misclassified; 1 if there is none.

    Args:
        probabilities: `(n, categories + 1)`, the last column *unmapped*.
        labels: `(n,)` into these columns.
        risk: 0 to 1.
    """
    confidence, predicted = probabilities.max(dim=1)
    mapped = (predicted < probabilities.shape[1] - 1).numpy()
    points = coverage_accuracy(confidence.double().numpy(), (predicted == labels).numpy(), mapped)
    threshold = threshold_for_risk(points, risk)
    return 1.0 if threshold is None else threshold


@torch.no_grad()
def router_logits(trunk: VggTrunk, head: HeadClassifier, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits `(n, categories + 1)` and labels `(n,)` of pictures."""
    pairs = [(head.logits(trunk(batch.L)).float().cpu(), batch.labels.cpu()) for batch in batches]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([labels for _, labels in pairs])
