import numpy as np
import pytest
import torch
from PIL import Image

from models.ab_bins import AbBins, srgb_cells
from models.lab import srgb_to_lab


@pytest.fixture
def bins() -> AbBins:
    return AbBins(srgb_cells())


@pytest.fixture
def ab(photographs: dict[str, Image.Image]) -> torch.Tensor:
    picture = torch.from_numpy(np.array(photographs["flower"].resize((40, 30)))).permute(2, 0, 1)[None].float() / 255
    return srgb_to_lab(picture)[:, 1:]


def test_bins_cover_srgb_gamut(bins: AbBins) -> None:
    assert len(bins) == 260
    primaries = srgb_to_lab(torch.eye(3).T.reshape(1, 3, 1, 3))[0, 1:, 0].T
    assert torch.cdist(primaries, bins.centers).min(dim=1).values.max() < 7.1  # half a cell's diagonal


def test_quantize_finds_nearest_bin(bins: AbBins, ab: torch.Tensor) -> None:
    nearest = torch.cdist(ab.movedim(1, -1).reshape(-1, 2).round(), bins.centers).min(dim=1).values
    found = bins.centers[bins.quantize(ab)].reshape(-1, 2)
    distance = (found - ab.movedim(1, -1).reshape(-1, 2).round()).norm(dim=1)
    assert torch.allclose(distance, nearest, atol=1e-4)


def test_soft_encoding_is_distribution_around_color(bins: AbBins, ab: torch.Tensor) -> None:
    index, weight = bins.soft_encode(ab)
    assert index.shape == weight.shape == (1, 5, 30, 40)
    assert torch.allclose(weight.sum(dim=1), torch.ones(1, 30, 40), atol=1e-5)
    mean = (bins.centers[index] * weight[..., None]).sum(dim=1).movedim(-1, 1)
    assert (mean - ab).abs().mean() < 2


def test_annealed_mean_moves_from_mean_to_mode(bins: AbBins) -> None:
    logits = torch.zeros(1, len(bins), 1, 1)
    red = int(bins.quantize(torch.tensor([60.0, 40.0]).view(1, 2, 1, 1)))
    logits[0, red] = 4.0
    chroma = [float(bins.annealed_mean(logits, temperature).norm(dim=1)) for temperature in (1.0, 0.38, 0.1)]
    assert chroma[0] < chroma[1] < chroma[2]
    assert torch.allclose(bins.annealed_mean(logits, 0.05)[0, :, 0, 0], bins.centers[red], atol=1e-2)


def test_certainty_mutes_only_uncertain_predictions(bins: AbBins) -> None:
    doubtful = torch.zeros(1, len(bins), 1, 1)
    certain = doubtful.clone()
    certain[0, 10] = 50.0
    for logits, least, most in ((doubtful, 0.0, 0.2), (certain, 0.99, 1.01)):
        assert least <= float(bins.certainty(logits, mute=1.0)) <= most
    assert float(bins.certainty(doubtful, mute=0.5)) > float(bins.certainty(doubtful, mute=1.0))


def test_rebalancing_favors_rare_bins_with_mean_weight_one(bins: AbBins) -> None:
    prior = torch.full((len(bins),), 1.0)
    prior[0] = 1000.0
    weights = bins.rebalancing(prior)
    assert weights[0] < weights[1]
    assert float((weights * prior / prior.sum()).sum()) == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(bins.rebalancing(prior, strength=0.0), torch.ones(len(bins)), atol=1e-5)


def test_centers_of_wrong_shape_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"\(3,\).*\(k, 2\)"):
        AbBins(torch.zeros(3))
