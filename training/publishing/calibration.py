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
from models.vgg import VggTrunk
from training.data.batches import Batch

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
def choose_read_out(trunk: VggTrunk, expert: VggExpert, batches: Iterable[Batch], least_chroma: float) -> ReadOut:
    """The read-out of least ΔE94 among those with at least that share of the true chroma; the most vivid one if none has."""
    scores: dict[ReadOut, list[tuple[float, float]]] = {}
    true_chroma = []
    for batch in batches:
        logits, truth = expert.logits(expert.features(trunk(batch.L))).float(), F.avg_pool2d(batch.ab, 4)
        true_chroma.append(float(truth.norm(dim=1).sum()))
        certainties = {mute: expert.bins.certainty(logits, mute) for mute in MUTES}
        for temperature in TEMPERATURES:
            mean = expert.bins.annealed_mean(logits, temperature)
            for mute, saturation in product(MUTES, SATURATIONS):
                ab = saturation * certainties[mute] * mean
                sums = float(delta_e94(ab, truth).sum()), float(ab.norm(dim=1).sum())
                scores.setdefault(ReadOut(temperature, mute, saturation), []).append(sums)
    error = {read_out: sum(part for part, _ in parts) for read_out, parts in scores.items()}
    chroma_share = {read_out: sum(part for _, part in parts) / sum(true_chroma) for read_out, parts in scores.items()}
    vivid = [read_out for read_out, share in chroma_share.items() if share >= least_chroma]
    return min(vivid, key=error.__getitem__) if vivid else max(chroma_share, key=chroma_share.__getitem__)


@torch.no_grad()
def chroma_share(paint: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> float:
    """Mean chroma of what `paint(L) -> ab` paints, over the truth's."""
    painted, true = 0.0, 0.0
    for batch in batches:
        truth = F.avg_pool2d(batch.ab, 4)
        height, width = truth.shape[-2:]
        painted += float(chroma.resize(paint(batch.L).float(), (height, width)).norm(dim=1).sum())
        true += float(truth.norm(dim=1).sum())
    return painted / true


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
