"""Losses on chrominance: ΔE94, the cross-entropy over bins, and the loss of the readout."""

import pytest
import torch

from models.ab_bins import AbBins, srgb_cells
from training.config.task_options import ReadoutLoss
from training.losses import bin_cross_entropy, delta_e94, readout_loss


def test_delta_e94_weights_errors_of_vivid_colors_less() -> None:
    def error(ab: float, truth: float) -> float:
        return float(delta_e94(torch.tensor([ab, 0.0]).view(1, 2, 1, 1), torch.tensor([truth, 0.0]).view(1, 2, 1, 1)))

    assert error(10, 10) == pytest.approx(0, abs=0.02)
    assert error(10, 0) == pytest.approx(10)
    assert error(70, 60) < error(20, 10)


def test_bin_cross_entropy_is_lowest_at_the_true_distribution() -> None:
    bins = AbBins(srgb_cells())
    ab = torch.tensor([33.0, -12.0]).view(1, 2, 1, 1)
    index, share = bins.soft_encode(ab)
    true = torch.full((1, len(bins), 1, 1), -20.0).scatter(1, index, share.log())
    weights = torch.ones(len(bins))
    best = bin_cross_entropy(true, ab, bins, weights)
    assert best < bin_cross_entropy(true.roll(40, 1), ab, bins, weights)
    assert best < bin_cross_entropy(torch.zeros_like(true), ab, bins, weights)
    assert float(best) == pytest.approx(float(-(share * share.log()).sum()), abs=1e-4)


def test_chroma_reward_raises_chroma_only_moderately_where_the_hue_is_uncertain() -> None:
    certain = torch.tensor([30.0, 10.0]).expand(40, 2)
    uncertain = torch.cat((torch.full((20, 2), 20.0), torch.full((20, 2), -20.0)))
    truth = torch.stack((certain, uncertain), dim=2)[:, :, None]  # (n,2,1,2): one position of each kind
    learned = {}
    for chroma_reward in (0.0, 0.2):
        ab = torch.ones(1, 2, 1, 2, requires_grad=True)
        optimizer = torch.optim.Adam([ab], lr=0.5)
        options = ReadoutLoss(delta_e_weight=1.0, chroma_reward=chroma_reward)
        for _ in range(300):
            optimizer.zero_grad()
            readout_loss(ab.expand(40, -1, -1, -1), truth, options).backward()
            optimizer.step()
        learned[chroma_reward] = ab.detach()[0, :, 0]
    for ab in learned.values():
        assert torch.dist(ab[:, 0], certain[0]) < 2
    pale, vivid = (learned[chroma_reward][:, 1].norm() for chroma_reward in (0.0, 0.2))
    assert pale < vivid < 20
