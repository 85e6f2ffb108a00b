"""What is decided on validation pictures after training: how sure the router is, how vivid an expert, and whether it pays."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from models import chroma
from models.classifiers import HeadClassifier
from models.colorizers.vgg_expert import VggExpert
from models.vgg import VggTrunk
from training.data.batches import Batch

TEMPERATURES = (0.25, 0.38, 0.55, 0.75, 1.0)
MUTES = (0.0, 0.05, 0.1, 0.2, 0.4)
SATURATIONS = (0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6)


@dataclass(frozen=True)
class ReadOut:
    """The read-out of an expert, and what it scored: mean ΔE94 and mean chroma over the truth's."""

    temperature: float
    mute: float
    saturation: float
    error: float
    chroma: float

    def arguments(self) -> dict[str, float]:
        """As arguments of `VggExpert`."""
        return {"temperature": self.temperature, "mute": self.mute, "saturation": self.saturation}


@torch.no_grad()
def choose_read_out(trunk: VggTrunk, expert: VggExpert, batches: Iterable[Batch], least_chroma: float) -> ReadOut:
    """The read-out of least error among those with at least that share of the true chroma; the most vivid one if none has."""
    seen = [(expert.logits(expert.features(trunk(batch.L))).float(), F.avg_pool2d(batch.ab, 4)) for batch in batches]
    true_chroma = _mean([ab.norm(dim=1) for _, ab in seen])
    found = []
    for temperature, mute in product(TEMPERATURES, MUTES):
        read = [(expert.bins.annealed_mean(logits, temperature, mute), ab) for logits, ab in seen]
        for saturation in SATURATIONS:
            error = _mean([delta_e94(saturation * painted, ab) for painted, ab in read])
            kept = saturation * _mean([painted.norm(dim=1) for painted, _ in read]) / true_chroma
            found.append(ReadOut(temperature, mute, saturation, error, kept))
    vivid = [one for one in found if one.chroma >= least_chroma]
    return min(vivid, key=lambda one: one.error) if vivid else max(found, key=lambda one: one.chroma)


@torch.no_grad()
def picture_errors(paint: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Tensor:
    """Mean ΔE94 `(n,)` of each picture, at a quarter of its sides, for any colorizer's `paint(L) -> ab`."""
    errors = []
    for batch in batches:
        truth = F.avg_pool2d(batch.ab, 4)
        height, width = truth.shape[-2:]
        errors.append(delta_e94(chroma.resize(paint(batch.L).float(), (height, width)), truth).mean(dim=(1, 2)).cpu())
    return torch.cat(errors)


def pays(own: Tensor, rival: Tensor) -> bool:
    """Whether errors `(n,)` are below a rival's on the same pictures by more than the standard error of the mean difference."""
    gain = rival - own
    if len(gain) < 2:
        return False
    return float(gain.mean()) > float(gain.std() / len(gain) ** 0.5)


def delta_e94(ab: Tensor, truth: Tensor) -> Tensor:
    """ΔE94 `(n,h,w)` between ab `(n,2,h,w)` of equal lightness: cheap, and ranks read-outs as ΔE00 does."""
    saturation, true_saturation = ab.norm(dim=1), truth.norm(dim=1)
    difference = saturation - true_saturation
    hue = ((ab - truth).square().sum(dim=1) - difference.square()).clamp(min=0)
    return ((difference / (1 + 0.045 * true_saturation)).square() + hue / (1 + 0.015 * true_saturation).square()).sqrt()


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


def _mean(parts: Sequence[Tensor]) -> float:
    return float(torch.cat([part.flatten() for part in parts]).mean())
