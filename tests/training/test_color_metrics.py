"""The scores of a colorized picture against the true one: known values, and what each score distinguishes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from training.metrics import color

SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert float(color.psnr(truth + 0.1, truth)) == pytest.approx(20.0, abs=1e-3)
    assert float(color.psnr(truth, truth)) == 60


def test_colorfulness_is_zero_for_gray_and_grows_with_saturation(photographs: dict[str, Image.Image]) -> None:
    picture = as_tensor(photographs["flower"])
    gray = color.gray(picture)
    half = (picture + gray) / 2
    values = [float(color.colorfulness(view)) for view in (gray, half, picture)]
    assert values[0] == pytest.approx(0, abs=1e-3)
    assert values[0] < values[1] < values[2]


def test_delta_e00_matches_the_34_published_pairs_of_sharma() -> None:
    pairs = np.array([[float(value) for value in line.split()] for line in SHARMA.strip().splitlines()])
    assert len(pairs) == 34
    measured = color.delta_e00(pairs[None, :, :3], pairs[None, :, 3:6])[0]
    np.testing.assert_allclose(measured, pairs[:, 6], atol=6e-5)


def test_truth_scores_best_and_bleeding_is_distinguished_from_desaturation(photographs: dict[str, Image.Image]) -> None:
    rgb = np.array(photographs["food"])
    truth = color.Truth(rgb)
    luma = photographs["food"].convert("L")
    bands = photographs["food"].convert("YCbCr").split()

    def scores_of(saturation: float, blur: float) -> dict[str, float]:
        softened = [band.filter(ImageFilter.GaussianBlur(blur)) for band in bands[1:]]
        faded = [Image.fromarray((128 + saturation * (np.array(band, float) - 128)).round().astype(np.uint8)) for band in softened]
        return color.scores(np.array(Image.merge("YCbCr", (bands[0], *faded)).convert("RGB")), truth)

    best, gray = color.scores(rgb, truth), color.scores(np.array(luma.convert("RGB")), truth)
    assert (best["delta_e"], best["ab_mae"], best["ab_auc"], best["psnr"]) == (0, 0, 1, 60)
    assert best["ssim"] == pytest.approx(1)
    assert best["edge_near"] == best["edge_far"] == pytest.approx(1)
    assert gray["edge_near"] == pytest.approx(0, abs=0.01)
    assert gray["ab_auc"] < scores_of(1, 4)["ab_auc"] < best["ab_auc"]
    faint, bleeding = scores_of(0.5, 0), scores_of(1, 2)
    assert 1 - faint["edge_near"] / faint["edge_far"] < 0.1 < 0.3 < 1 - bleeding["edge_near"] / bleeding["edge_far"]
    assert "ssim" not in color.scores(rgb[:8, :8], color.Truth(rgb[:8, :8]))
