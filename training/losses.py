"""Losses on chrominance. All mean over pixels and pictures."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.ab_bins import AbBins
from models.colorizers.base import RegressionColorizer
from models.colorizers.vgg_expert import VggExpert
from models.vgg import Taps
from training.config import ReadOutLoss
from training.data.batches import plain_batches
from training.data.packs import Pack


def expert_loss(expert: VggExpert, taps: Taps, ab: Tensor, weights: Tensor, read_out: ReadOutLoss) -> Tensor:
    """The bin cross-entropy of an expert for true ab `(n,2,h,w)`, and the loss of its read-out, at a quarter of its places.

    Neighbors say nearly the same, and 260 bins a place are what a step spends most on after the convolutions. The grid of places
    is shifted at random, so that all of them count over time.
    """
    top, left = torch.randint(2, (2,)).tolist()
    logits = expert.logits(expert.features(taps)[:, :, top::2, left::2])
    truth = F.avg_pool2d(ab, 4)[:, :, top::2, left::2]
    loss = bin_cross_entropy(logits, truth, expert.bins, weights)
    if read_out.closeness:
        loss = loss + read_out_loss(expert.bins.annealed_mean(logits.float(), expert.temperature), truth, read_out)
    return loss


def read_out_loss(ab: Tensor, truth: Tensor, options: ReadOutLoss) -> Tensor:
    """What is asked of the color ab `(n,2,h,w)` that is read out, against the truth of that shape; see `ReadOutLoss`."""
    return options.closeness / 10 * (delta_e94(ab, truth) - options.vividness * ab.norm(dim=1)).mean()


def bin_cross_entropy(logits: Tensor, ab: Tensor, bins: AbBins, weights: Tensor) -> Tensor:
    """Cross-entropy of logits `(n,k,h,w)` against the soft encoding of ab `(n,2,h,w)`; Zhang et al. 2016, equation 2.

    Each pixel counts by the weight `(k,)` of its nearest bin, so rare colors can be made to matter.
    """
    index, share = bins.soft_encode(ab)
    logits = logits.float()
    log_likelihood = (logits.gather(1, index) * share).sum(dim=1) - logits.logsumexp(dim=1)
    return -(weights[index[:, 0]] * log_likelihood).mean()


def delta_e94(ab: Tensor, truth: Tensor) -> Tensor:
    """ΔE94 `(n,h,w)` between ab `(n,2,h,w)` of equal lightness: cheap, close to ΔE00, and with a gradient everywhere."""
    saturation, true_saturation = ab.norm(dim=1), truth.norm(dim=1)
    difference = saturation - true_saturation
    hue = ((ab - truth).square().sum(dim=1) - difference.square()).clamp(min=0)
    return ((difference / (1 + 0.045 * true_saturation)).square() + hue / (1 + 0.015 * true_saturation).square() + 1e-4).sqrt()


def scaled_truth(network: RegressionColorizer, predicted: Tensor, L: Tensor, ab: Tensor) -> Tensor:
    """True ab on the scale and at the resolution of what a regressor predicted."""
    return F.interpolate(network.scaled(L, ab), predicted.shape[-2:], mode="area")


def channel_accuracy(predicted: Tensor, truth: Tensor) -> Tensor:
    """The share of places where the larger of the two channels is the right one: what Keras calls accuracy in paper 001's plots."""
    return (predicted.argmax(dim=1) == truth.argmax(dim=1)).float().mean()


def rebalancing_weights(bins: AbBins, pack: Pack, strength: float) -> Tensor:
    """Loss weights `(k,)` of the bins from the colors of up to 4000 pictures of a pack; `strength` 1 is as published."""
    counts = torch.zeros(len(bins))
    for batch in plain_batches(pack.spread(4000), 100, min(128, pack.side)):
        counts += bins.quantize(F.avg_pool2d(batch.ab, 4)).flatten().bincount(minlength=len(bins))
    return bins.rebalancing(counts, strength)
