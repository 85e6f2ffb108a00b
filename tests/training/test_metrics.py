import numpy as np
import pytest
import torch
from PIL import Image

from models.ab_bins import AbBins, srgb_cells
from training.evaluation import metrics
from training.losses import bin_cross_entropy
from training.publishing.calibration import choose_temperature, choose_threshold, delta_e94, pays


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert float(metrics.psnr(truth + 0.1, truth)) == pytest.approx(20.0, abs=1e-3)
    assert float(metrics.psnr(truth, truth)) == 60


def test_colourfulness_is_zero_for_grey_and_grows_with_saturation(photographs: dict[str, Image.Image]) -> None:
    picture = as_tensor(photographs["flower"])
    grey = metrics.grey(picture)
    half = (picture + grey) / 2
    values = [float(metrics.colourfulness(each)) for each in (grey, half, picture)]
    assert values[0] == pytest.approx(0, abs=1e-3)
    assert values[0] < values[1] < values[2]


def test_ciede2000_is_neither_76_nor_94() -> None:
    red, orange = (np.full((2, 2, 3), colour, np.uint8) for colour in ((200, 30, 30), (200, 60, 30)))
    assert metrics.ciede2000(red, red) == 0
    assert metrics.ciede2000(red, orange) == pytest.approx(5.439, abs=0.01)  # ΔE76 is 10.0, ΔE94 5.0


def test_delta_e94_counts_errors_of_vivid_colours_less() -> None:
    def pair(ab: float, truth: float) -> float:
        return float(delta_e94(torch.tensor([ab, 0.0]).view(1, 2, 1, 1), torch.tensor([truth, 0.0]).view(1, 2, 1, 1)))

    assert pair(10, 10) == 0
    assert pair(10, 0) == pytest.approx(10)
    assert pair(70, 60) < pair(20, 10)


def test_the_bin_loss_is_least_at_the_true_distribution() -> None:
    bins = AbBins(srgb_cells())
    ab = torch.tensor([33.0, -12.0]).view(1, 2, 1, 1)
    index, share = bins.soft_encode(ab)
    true = torch.full((1, len(bins), 1, 1), -20.0).scatter(1, index, share.log())
    weights = torch.ones(len(bins))
    best = bin_cross_entropy(true, ab, bins, weights)
    assert best < bin_cross_entropy(true.roll(40, 1), ab, bins, weights)
    assert best < bin_cross_entropy(torch.zeros_like(true), ab, bins, weights)
    assert float(best) == pytest.approx(float(-(share * share.log()).sum()), abs=1e-4)


def test_calibration_undoes_overconfidence() -> None:
    torch.manual_seed(0)
    truth = torch.randn(4000, 5)
    labels = torch.distributions.Categorical(logits=truth).sample()
    assert choose_temperature(truth, labels) == pytest.approx(1.0, abs=0.1)
    assert choose_temperature(2 * truth, labels) == pytest.approx(2.0, abs=0.2)


def test_the_threshold_keeps_the_risk() -> None:
    confidence = torch.linspace(0.34, 0.98, 200)
    probabilities = torch.stack((confidence, 1 - confidence, torch.zeros(200)), dim=1)
    labels = (confidence < 0.6).long()  # the unsure ones are of the other category
    threshold = choose_threshold(probabilities, labels, risk=0.05)
    accepted = (probabilities.max(dim=1).values >= threshold) & (probabilities.argmax(dim=1) < 2)
    wrong = probabilities.argmax(dim=1) != labels
    assert float(wrong[accepted].float().mean()) <= 0.05
    assert threshold > 0.5
    assert choose_threshold(probabilities, probabilities.argmax(dim=1), risk=0.05) == 0.0


def test_an_expert_pays_only_beyond_the_noise() -> None:
    rival = torch.linspace(5, 15, 40)
    assert pays(rival - 1, rival)
    assert not pays(rival, rival)
    noise = torch.tensor([3.0, -2.8] * 20)
    assert not pays(rival - noise, rival)
    assert not pays(rival[:1] - 5, rival[:1])
