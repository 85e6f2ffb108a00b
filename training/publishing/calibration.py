"""What is decided on validation pictures after training: how sure the router is, how vivid an expert, and whether it pays."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from models import chroma
from models.classifiers import HeadClassifier
from models.colorizers.vgg_expert import VggExpert
from models.lab import lab_to_srgb
from models.vgg import VggTrunk
from training.data.batches import Batch
from training.evaluation.metrics import colourfulness
from training.losses import delta_e94

TEMPERATURES = (0.25, 0.38, 0.55, 0.75, 1.0)
MUTES = (0.0, 0.05, 0.1, 0.2, 0.4)
SATURATIONS = (0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6)


@dataclass(frozen=True)
class ReadOut:
    """How an expert's distribution is read out; the names are `VggExpert`'s arguments."""

    temperature: float
    mute: float
    saturation: float

    def arguments(self) -> dict[str, float]:
        """As arguments of `VggExpert`."""
        return asdict(self)


@torch.no_grad()
def choose_read_out(trunk: VggTrunk, expert: VggExpert, batches: Iterable[Batch], least_colourfulness: float) -> ReadOut:
    """The read-out of least ΔE94 among those with that share of the true colourfulness; the most vivid one if none has."""
    scores: dict[ReadOut, list[tuple[float, float]]] = {}
    true = 0.0
    for batch in batches:
        logits, (L, truth) = expert.logits(expert.features(trunk(batch.L))).float(), quarter(batch)
        true += float(colourfulness_of(L, truth).sum())
        certainties = {mute: expert.bins.certainty(logits, mute) for mute in MUTES}
        for temperature in TEMPERATURES:
            mean = expert.bins.annealed_mean(logits, temperature)
            for mute, saturation in product(MUTES, SATURATIONS):
                ab = saturation * certainties[mute] * mean
                sums = float(delta_e94(ab, truth).sum()), float(colourfulness_of(L, ab).sum())
                scores.setdefault(ReadOut(temperature, mute, saturation), []).append(sums)
    error = {read_out: sum(part for part, _ in parts) for read_out, parts in scores.items()}
    share = {read_out: sum(part for _, part in parts) / true for read_out, parts in scores.items()}
    vivid = [read_out for read_out in scores if share[read_out] >= least_colourfulness]
    return min(vivid, key=error.__getitem__) if vivid else max(share, key=share.__getitem__)


@torch.no_grad()
def judged(paint: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> tuple[Tensor, float]:
    """Mean ΔE94 `(n,)` of each picture as `paint(L) -> ab` colours it, and the share of the true colourfulness that it paints."""
    errors, painted, true = [], 0.0, 0.0
    for batch in batches:
        L, truth = quarter(batch)
        height, width = truth.shape[-2:]
        ab = chroma.resize(paint(batch.L).float(), (height, width))
        errors.append(delta_e94(ab, truth).mean(dim=(1, 2)).cpu())
        painted += float(colourfulness_of(L, ab).sum())
        true += float(colourfulness_of(L, truth).sum())
    return torch.cat(errors), painted / true


def pays(own: Tensor, rival: Tensor, margin: float = 1.0) -> bool:
    """Whether errors `(n,)` are below a rival's on the same pictures, by so many standard errors of the mean difference."""
    gain = rival - own
    if len(gain) < 2:
        return False
    return float(gain.mean()) > margin * float(gain.std() / len(gain) ** 0.5)


def quarter(batch: Batch) -> tuple[Tensor, Tensor]:
    """L `(n,1,h,w)` and ab `(n,2,h,w)` of a batch at a quarter of its sides, where distributions are predicted."""
    return F.avg_pool2d(batch.L, 4), F.avg_pool2d(batch.ab, 4)


def colourfulness_of(L: Tensor, ab: Tensor) -> Tensor:
    """Colourfulness `(n,)` of pictures, as sRGB can show them."""
    return colourfulness(lab_to_srgb(torch.cat((L, ab), dim=1)))


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
