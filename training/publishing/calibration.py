"""What is decided of a router on validation pictures after training: how sure it is, and from where on it is believed."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifiers import HeadClassifier
from models.vgg import VggTrunk
from training.data.batches import Batch


@torch.no_grad()
def choose_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes the router's probabilities likeliest on validation pictures (Guo et al. 2017, section 4.2)."""
    candidates = [round(0.5 + 0.025 * step, 3) for step in range(81)]
    return min(candidates, key=lambda temperature: float(F.cross_entropy(logits / temperature, labels)))


def choose_threshold(probabilities: Tensor, labels: Tensor, risk: float) -> float:
    """The least threshold at which at most a share `risk` of the pictures that reach it is named wrongly.

    Args:
        probabilities: `(n, categories + 1)`, the last column *unmapped*.
        labels: `(n,)` into these columns.
        risk: 0 to 1.
    """
    confidence, named = probabilities.max(dim=1)
    wrong = named != labels
    for step in range(100):
        accepted = (confidence >= step / 100) & (named < probabilities.shape[1] - 1)
        if not accepted.any() or float(wrong[accepted].float().mean()) <= risk:
            return step / 100
    return 1.0


@torch.no_grad()
def router_logits(trunk: VggTrunk, head: HeadClassifier, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Logits `(n, categories + 1)` and labels `(n,)` of pictures."""
    pairs = [(head.logits(trunk(batch.L)).float().cpu(), batch.labels.cpu()) for batch in batches]
    return torch.cat([logits for logits, _ in pairs]), torch.cat([labels for _, labels in pairs])
