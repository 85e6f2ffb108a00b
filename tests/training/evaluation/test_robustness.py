"""The variations of old prints, and blotches."""

import numpy as np
import pytest
from PIL import Image

from models.bundle import load_bundle
from models.bundle_header import EVERYDAY, read_header
from models.ensemble import Ensemble
from models.torch_networks import TorchEnsemble
from training.evaluation.robustness import BORDERED, VARIATIONS, VariedScores, robustness_results, varied_scores
from training.metrics.color import lab
from training.metrics.evenness import blotches


@pytest.fixture(scope="module")
def ensemble() -> TorchEnsemble:
    return TorchEnsemble(load_bundle(EVERYDAY))


def test_every_variation_but_the_first_changes_the_picture(photographs: dict[str, Image.Image]) -> None:
    rgb = np.asarray(photographs["flower"].convert("RGB"))
    luma = np.asarray(photographs["flower"].convert("L"))
    varied = {name: vary(luma, rgb) for name, vary in VARIATIONS.items()}
    assert np.array_equal(varied["as it is"], luma)
    assert all(not np.array_equal(picture, luma) for name, picture in varied.items() if name != "as it is")
    assert (varied["faded"].min(), varied["faded"].max()) >= (90, 200)
    assert varied["dark"].mean() < luma.mean() < varied["light"].mean()


def test_results_are_those_of_all_pictures_in_every_variation(ensemble: Ensemble, photographs: dict[str, Image.Image]) -> None:
    scores = []
    for name in ("cat", "flower"):
        rgb = np.asarray(photographs[name].convert("RGB"))
        scores.append(varied_scores(ensemble, rgb, np.asarray(photographs[name].convert("L")), lab(rgb)[..., 1:]))
    rows = {row.variation: row for row in robustness_results(scores, ["cat", "flower"], ensemble.bundle.router)}
    assert list(rows) == [*VARIATIONS, BORDERED]
    plain = rows["as it is"]
    total = sum(one["as it is"].error for one in scores) / sum(one["as it is"].gray_error for one in scores)
    assert plain.ab_error.value == pytest.approx(total)
    assert plain.top1.value == 1
    assert plain.frame_chroma is None
    assert rows[BORDERED].frame_chroma is not None
    assert plain.confident_wrong is None


def test_confident_wrong_is_the_share_of_pictures_of_no_category_that_are_routed() -> None:
    router = read_header(EVERYDAY).router
    own = [{"as it is": VariedScores(1, 2, 1, 2, category="cat", fell_back=fell_back)} for fell_back in (True, False, False, False)]
    (row,) = robustness_results(own, ["boat", "boat", "train", "cat"], router)
    assert row.confident_wrong == pytest.approx(2 / 3)


def test_perfect_prediction_is_not_blotched_and_spots_on_a_wall_are() -> None:
    luma = np.full((64, 64), 128, np.uint8)
    truth = np.zeros((64, 64, 2), np.float32)
    spotted = truth.copy()
    spotted[10:30, 10:30] = (20, 20)
    assert blotches(luma, truth, truth) is False
    assert blotches(luma, spotted, truth) is True
    assert blotches(luma, spotted, spotted) is False


def test_pictures_without_even_regions_are_not_judged() -> None:
    luma = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    assert blotches(luma, np.zeros((64, 64, 2), np.float32), np.zeros((64, 64, 2), np.float32)) is None
