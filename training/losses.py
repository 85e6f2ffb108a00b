"""Losses on chrominance, averaged over pixels and pictures."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.ab_bins import AbBins
from models.colorizers import RegressionColorizer
from models.colorizers.vgg_expert import VggExpert
from models.vgg import Taps
from training.config.task_options import ReadoutLoss
from training.data.batches import plain_batches
from training.data.packs import Pack


def expert_loss(expert: VggExpert, taps: Taps, L: Tensor, ab: Tensor, weights: Tensor, readout: ReadoutLoss) -> Tensor:
    """The cross-entropy over bins of an expert for L `(n,1,h,w)` and true ab `(n,2,h,w)`, plus the loss of its readout, at a
    quarter of the positions.

    Neighboring positions are redundant, and their 260 logits are the most expensive part of a step after the convolutions. The grid
    of positions is shifted at random, so that all of them are used over time.
    """
    top, left = torch.randint(2, (2,)).tolist()
    logits = expert.logits(expert.features(taps)[:, :, top::2, left::2])
    truth = F.avg_pool2d(ab, 4)[:, :, top::2, left::2]
    loss = bin_cross_entropy(logits, truth, expert.bins, weights)
    if readout.delta_e_weight or readout.smoothness_weight:
        decoded = expert.bins.annealed_mean(logits.float(), expert.temperature)
        loss = loss + readout_loss(decoded, truth, readout)
        loss = loss + readout.smoothness_weight * unevenness(decoded, truth, F.avg_pool2d(L, 4)[:, :, top::2, left::2])
    return loss


def unevenness(ab: Tensor, truth: Tensor, L: Tensor) -> Tensor:
    """The mean difference of neighboring ab `(n,2,h,w)`, where neither the lightness `(n,1,h,w)` nor the true ab differs.

    Each difference is weighted by exp(-(|ΔL| + |Δab of the truth|) / 3).
    """
    total, weights = ab.new_zeros(()), ab.new_zeros(())
    for dim in (-2, -1):
        differences = [tensor.diff(dim=dim).square().sum(dim=1).add(1e-4).sqrt() for tensor in (ab, truth, L)]
        weight = torch.exp(-(differences[1] + differences[2]) / 3)
        total, weights = total + (weight * differences[0]).sum(), weights + weight.sum()
    return total / (weights + 1e-6)


def readout_loss(ab: Tensor, truth: Tensor, options: ReadoutLoss) -> Tensor:
    """The loss of decoded ab `(n,2,h,w)` against true ab of that shape; see `ReadoutLoss`."""
    loss: Tensor = options.delta_e_weight / 10 * (delta_e94(ab, truth) - options.chroma_reward * ab.norm(dim=1)).mean()
    return loss


def bin_cross_entropy(logits: Tensor, ab: Tensor, bins: AbBins, weights: Tensor) -> Tensor:
    """Cross-entropy of logits `(n,k,h,w)` against the soft encoding of ab `(n,2,h,w)`; Zhang et al. 2016, equation 2.

    Each pixel is weighted by the weight `(k,)` of its nearest bin.
    """
    index, share = bins.soft_encode(ab)
    logits = logits.float()
    log_likelihood = (logits.gather(1, index) * share).sum(dim=1) - logits.logsumexp(dim=1)
    return -(weights[index[:, 0]] * log_likelihood).mean()


def delta_e94(ab: Tensor, truth: Tensor) -> Tensor:
    """ΔE94 `(n,h,w)` between ab `(n,2,h,w)` of equal lightness: cheap, close to ΔE00, and differentiable everywhere."""
    chroma, true_chroma = ab.norm(dim=1), truth.norm(dim=1)
    difference: Tensor = chroma - true_chroma
    hue = ((ab - truth).square().sum(dim=1) - difference.square()).clamp(min=0)
    distance: Tensor = ((difference / (1 + 0.045 * true_chroma)).square() + hue / (1 + 0.015 * true_chroma).square() + 1e-4).sqrt()
    return distance


def encoded_truth(network: RegressionColorizer, predicted: Tensor, L: Tensor, ab: Tensor) -> Tensor:
    """True ab on the scale and at the resolution of the prediction of a regression colorizer."""
    return F.interpolate(network.encode(ab, L), predicted.shape[-2:], mode="area")


def channel_accuracy(predicted: Tensor, truth: Tensor) -> Tensor:
    """The share of positions where the larger channel is the same: what Keras calls accuracy in the plots of paper 001."""
    return (predicted.argmax(dim=1) == truth.argmax(dim=1)).float().mean()


def rebalancing_weights(bins: AbBins, pack: Pack, strength: float) -> Tensor:
    """Loss weights `(k,)` of the bins from the colors of up to 4000 pictures of a pack; `strength` is 0 to 1 (as published)."""
    counts = torch.zeros(len(bins))
    for batch in plain_batches(pack.spread(4000), 100, min(128, pack.side)):
        counts += bins.quantize(F.avg_pool2d(batch.ab, 4)).flatten().bincount(minlength=len(bins))
    return bins.rebalancing(counts, strength)
