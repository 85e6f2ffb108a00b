import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from models.ab_bins import AbBins, srgb_cells
from training.config import ReadoutLoss
from training.evaluation import metrics
from training.evaluation.evaluate import plain
from training.evaluation.routing import calibration_error, coverage_accuracy, reliability, threshold_for
from training.losses import bin_cross_entropy, delta_e94, readout_loss
from training.metrics.bootstrap import Bootstrap
from training.metrics.distribution import cell_counts, chroma_histogram, divergence
from training.metrics.frechet import frechet_distance
from training.publishing.calibration import choose_temperature, choose_threshold
from training.publishing.readout_scores import ReadoutScores
from training.publishing.selection import choose, pays
from training.report.formatting import sign


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert float(metrics.psnr(truth + 0.1, truth)) == pytest.approx(20.0, abs=1e-3)
    assert float(metrics.psnr(truth, truth)) == 60


def test_colorfulness_is_zero_for_gray_and_grows_with_saturation(photographs: dict[str, Image.Image]) -> None:
    picture = as_tensor(photographs["flower"])
    gray = metrics.gray(picture)
    half = (picture + gray) / 2
    values = [float(metrics.colorfulness(each)) for each in (gray, half, picture)]
    assert values[0] == pytest.approx(0, abs=1e-3)
    assert values[0] < values[1] < values[2]


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


def test_delta_e00_is_that_of_the_34_pairs_of_sharma() -> None:
    pairs = np.array([[float(each) for each in line.split()] for line in SHARMA.strip().splitlines()])
    assert len(pairs) == 34
    found = metrics.delta_e00(pairs[None, :, :3], pairs[None, :, 3:6])[0]
    np.testing.assert_allclose(found, pairs[:, 6], atol=6e-5)


def test_the_truth_scores_best_and_color_that_bleeds_is_told_from_color_that_is_faint(
    photographs: dict[str, Image.Image],
) -> None:
    rgb = np.array(photographs["food"])
    truth = metrics.Truth(rgb)
    luma = photographs["food"].convert("L")
    bands = photographs["food"].convert("YCbCr").split()

    def painted(strength: float, blur: float) -> dict[str, float]:
        softened = [band.filter(ImageFilter.GaussianBlur(blur)) for band in bands[1:]]
        faded = [Image.fromarray((128 + strength * (np.array(band, float) - 128)).round().astype(np.uint8)) for band in softened]
        return metrics.scores(np.array(Image.merge("YCbCr", (bands[0], *faded)).convert("RGB")), truth)

    best, gray = metrics.scores(rgb, truth), metrics.scores(np.array(luma.convert("RGB")), truth)
    assert (best["delta_e"], best["ab_mae"], best["ab_auc"], best["psnr"]) == (0, 0, 1, 60)
    assert best["ssim"] == pytest.approx(1)
    assert best["edge_near"] == best["edge_far"] == pytest.approx(1)
    assert gray["edge_near"] == pytest.approx(0, abs=0.01)
    assert gray["ab_auc"] < painted(1, 4)["ab_auc"] < best["ab_auc"]
    faint, bleeding = painted(0.5, 0), painted(1, 2)
    assert 1 - faint["edge_near"] / faint["edge_far"] < 0.1 < 0.3 < 1 - bleeding["edge_near"] / bleeding["edge_far"]
    assert "ssim" not in metrics.scores(rgb[:8, :8], metrics.Truth(rgb[:8, :8]))


def test_an_interval_is_as_wide_as_the_sample_is_small() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(2, 1, 900)
    wide, narrow = Bootstrap(100).mean(values[:100]), Bootstrap(900).mean(values)
    assert narrow.low < 2 < narrow.high
    assert wide.high - wide.low == pytest.approx(2 * 1.96 / 10, rel=0.2)
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 / 30, rel=0.2)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    found = [Bootstrap(60).mean(rng.exponential(1, 60)) for _ in range(200)]
    assert 0.88 < np.mean([each.low < 1 < each.high for each in found]) < 0.99
    few = [Bootstrap(5).mean(rng.normal(0, 1, 5)) for _ in range(300)]
    assert np.mean([sign(plain(each)) == 0 for each in few]) > 0.9
    assert sign(plain(Bootstrap(1).mean(np.array([4.0])))) == 0


def test_a_share_of_all_or_none_of_few_is_not_certain() -> None:
    found = Bootstrap(5).share(np.ones(5, bool))
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.7
    many = Bootstrap(1000).share(np.arange(1000) % 2 > 0)
    assert 0.46 < many.low < 0.5 < many.high < 0.54


def test_a_difference_within_its_interval_is_none() -> None:
    noise = np.random.default_rng(3).normal(0, 1, 200)
    assert sign(plain(Bootstrap(200).mean(noise - noise.mean()))) == 0
    assert sign(plain(Bootstrap(200).mean(noise - noise.mean() + 0.5))) == 1
    assert sign(plain(Bootstrap(200).mean(noise - noise.mean() - 0.5))) == -1
    assert sign(plain(Bootstrap(200).mean(np.zeros(200)))) == 0


def test_what_belongs_together_is_drawn_together() -> None:
    votes = np.repeat([0.0, 1.0] * 5, 20)  # ten people, each of one mind
    single_process, people = Bootstrap(200).mean(votes), Bootstrap(200, np.repeat(np.arange(10), 20)).mean(votes)
    assert people.high - people.low > 3 * (single_process.high - single_process.low)


def test_values_that_are_missing_are_left_out_of_a_mean() -> None:
    found = Bootstrap(4).mean(np.array([1.0, np.nan, 3.0, np.nan]))
    assert (found.value, found.low < 1, found.high > 3) == (2, True, True)
    assert np.isnan(Bootstrap(2).mean(np.array([np.nan, np.nan])).value)


def test_calibration_error_is_the_gap_between_confidence_and_rightness() -> None:
    confidence = np.full(1000, 0.75)
    assert calibration_error(confidence, np.arange(1000) % 4 > 0) == pytest.approx(0)
    assert calibration_error(confidence, np.arange(1000) % 2 > 0) == pytest.approx(0.25)
    assert reliability(np.array([0.05, 1.0]), np.array([False, True]))[-1] == {"confidence": 1, "accuracy": 1, "pictures": 1}


def test_a_threshold_for_a_risk_is_read_off_the_coverage_curve() -> None:
    confidence = np.linspace(0, 0.995, 200)
    named = np.ones(200, bool)
    curve = coverage_accuracy(confidence, confidence >= 0.5, named)
    assert curve[0] == {"threshold": 0.0, "coverage": 1.0, "accuracy": pytest.approx(0.5, abs=0.01)}
    assert threshold_for(curve, 0.0) == pytest.approx(0.5, abs=0.011)
    assert threshold_for(curve, 0.25) == pytest.approx(0.34, abs=0.02)
    assert threshold_for(coverage_accuracy(confidence, confidence < 0, named), 0.1) is None
    general = coverage_accuracy(np.array([0.9] * 10), np.array([True] * 8 + [False] * 2), np.array([False] * 8 + [True] * 2))
    assert general[0] == {"threshold": 0, "coverage": 0.2, "accuracy": 0}  # what is of no category is never sent to one


def test_the_frechet_distance_of_two_normal_samples_is_the_known_one() -> None:
    rng = np.random.default_rng(0)
    first, moved, wide = rng.normal(0, 1, (40_000, 3)), rng.normal(1, 1, (40_000, 3)), rng.normal(0, 3, (40_000, 3))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, moved) == pytest.approx(3, abs=0.1)  # 1 for each dimension
    assert frechet_distance(first, wide) == pytest.approx(12, abs=0.3)  # (3 - 1)^2 for each


def test_distributions_of_color_are_equal_or_share_nothing_or_lie_between() -> None:
    one, other = np.array([4, 4, 0, 0]), np.array([0, 0, 1, 9])
    assert divergence(one, 3 * one) == 0
    assert divergence(one, other) == 1
    assert 0.1 < divergence(one, np.array([4, 4, 2, 2])) < 0.5
    red = cell_counts(np.full((2, 5, 5), [[[60.0]], [[40.0]]], np.float32))
    assert (red.sum(), red.max()) == (25, 25)
    histogram = chroma_histogram(red)
    assert histogram.argmax() == 7  # the cell's center, (65, 45), has a chroma of 79
    assert histogram.sum() == 1


def test_delta_e94_counts_errors_of_vivid_colors_less() -> None:
    def pair(ab: float, truth: float) -> float:
        return float(delta_e94(torch.tensor([ab, 0.0]).view(1, 2, 1, 1), torch.tensor([truth, 0.0]).view(1, 2, 1, 1)))

    assert pair(10, 10) == pytest.approx(0, abs=0.02)
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


def test_vividness_is_asked_for_without_making_up_what_is_unsure() -> None:
    sure = torch.tensor([30.0, 10.0]).expand(40, 2)
    unsure = torch.cat((torch.full((20, 2), 20.0), torch.full((20, 2), -20.0)))
    truth = torch.stack((sure, unsure), dim=2)[:, :, None]  # (n,2,1,2): one place of each kind
    found = {}
    for vividness in (0.0, 0.2):
        ab = torch.ones(1, 2, 1, 2, requires_grad=True)
        optimizer = torch.optim.Adam([ab], lr=0.5)
        for _ in range(300):
            optimizer.zero_grad()
            readout_loss(ab.expand(40, -1, -1, -1), truth, ReadoutLoss(closeness=1.0, vividness=vividness)).backward()
            optimizer.step()
        found[vividness] = ab.detach()[0, :, 0]
    for ab in found.values():
        assert torch.dist(ab[:, 0], sure[0]) < 2
    pale, vivid = (found[vividness][:, 1].norm() for vividness in (0.0, 0.2))
    assert pale < vivid < 20


def _tried(*ways: tuple[float, float]) -> ReadoutScores:
    """Ten pictures whose true colorfulness is 40, in ways of these errors and colorfulnesses."""
    errors, colorfulness = torch.tensor(ways).T[..., None].expand(2, len(ways), 10)
    return ReadoutScores(tuple({"way": way} for way in range(len(ways))), errors, colorfulness, torch.full((10,), 40.0))


def test_color_goes_first_to_where_it_is_cheap() -> None:
    cheap, dear = _tried((7.0, 20.0), (7.1, 32.0), (8.0, 44.0)), _tried((7.0, 20.0), (9.0, 32.0))
    bought = {price: [choose({"general": tried}, 11.0, price)[1] for tried in (cheap, dear)] for price in (0.0, 0.05, 0.1, 0.2)}
    assert bought == {0.0: [0, 0], 0.05: [1, 0], 0.1: [2, 0], 0.2: [2, 1]}
    assert choose({"general": cheap}, None, 1.0) == ("general", 2)
    assert cheap.least_errors.tolist() == [7.0] * 10


def test_no_category_buys_color_beyond_what_it_gains_over_the_general_expert() -> None:
    general, own = _tried((7.4, 24.0), (8.0, 32.0)), _tried((6.0, 24.0), (7.0, 28.0), (7.9, 36.0), (9.0, 50.0))
    assert choose({"general": general, "own": own}, 8.0, price=0.0) == ("own", 0)
    assert choose({"general": general, "own": own}, 8.0, price=1.0) == ("own", 1)  # 7.9 would leave too little of the gain
    assert choose({"general": general, "own": own}, 8.0, price=0.15) == ("own", 0)  # the rest is too dear
    assert choose({"general": general}, 8.0, price=0.15) == ("general", 0)
    assert choose({"own": own}, None, price=1.0) == ("own", 3)
    assert choose({"own": own}, 5.0, price=0.15) == ("own", 0)  # what is kept though it does not pay, at its best


def test_an_expert_pays_only_beyond_the_noise() -> None:
    rival = torch.linspace(5, 15, 40)
    assert pays(rival - 1, rival)
    assert not pays(rival, rival)
    noise = torch.tensor([3.0, -2.8] * 20)
    assert not pays(rival - noise, rival)
    assert pays(rival - noise, rival, margin=0.0)
    assert not pays(rival[:1] - 5, rival[:1])
