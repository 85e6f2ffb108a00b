"""Plausible colors: similar bins are merged, the most probable come first, and both engines say the same."""

import numpy as np
import pytest

from models.engine_options import EngineOptions
from models.ensemble import FeatureCache
from models.errors import MissingOption, OptionError
from models.imaging import Picture
from models.lab import Float32Array
from models.loading import load_ensemble
from models.options import PointOptions
from models.plausible import plausible_colors


def bins(*values: tuple[float, float, float]) -> tuple[Float32Array, Float32Array]:
    array = np.array(values, np.float32)
    return array[:, :2], array[:, 2]


def test_colors_that_look_alike_are_merged_and_sorted() -> None:
    centers, probabilities = bins((60, 40, 0.3), (0, -50, 0.25), (0, -60, 0.25), (60, 30, 0.0), (0, 0, 0.2))
    found = plausible_colors(128, [(centers, probabilities, 1.0)], 10)
    assert [each.probability for each in found] == pytest.approx([0.5, 0.3, 0.2])
    red, green, blue = (bytes.fromhex(each.color[1:]) for each in (found[1], found[2], found[0]))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert max(green) - min(green) <= 2


def test_experts_of_a_blend_count_by_their_weights() -> None:
    red, blue = bins((60, 40, 1.0)), bins((0, -50, 1.0))
    found = plausible_colors(128, [(*red, 0.25), (*blue, 0.75)], 10)
    assert [each.probability for each in found] == pytest.approx([0.75, 0.25])


def test_number_of_colors_is_limited_and_improbable_ones_are_left_out() -> None:
    centers, probabilities = bins((60, 40, 0.6), (0, -50, 0.395), (-50, 50, 0.005))
    assert len(plausible_colors(128, [(centers, probabilities, 1.0)], 10)) == 2
    assert len(plausible_colors(128, [(centers, probabilities, 1.0)], 1)) == 1


@pytest.mark.parametrize("luma", [0, 255])
def test_colors_of_black_and_white_points_can_be_told_apart(luma: int) -> None:
    centers, probabilities = bins((60, 40, 0.5), (0, -50, 0.5))
    for each in plausible_colors(luma, [(centers, probabilities, 1.0)], 2):
        levels = bytes.fromhex(each.color[1:])
        assert max(levels) - min(levels) > 40


def test_engines_agree(photographs: dict[str, object]) -> None:
    luma = np.asarray(photographs["cat"].convert("L"))  # type: ignore[attr-defined]
    picture, options = Picture(luma, None, "png"), PointOptions(x=60, y=80, routing="soft")
    found = [
        load_ensemble(options=EngineOptions(engine=engine, precision="float32")).plausible_colors(picture, options)[0]
        for engine in ("torch", "openvino")
    ]
    assert [each.color for each in found[0]][:3] == [each.color for each in found[1]][:3]
    assert [each.probability for each in found[0]] == pytest.approx([each.probability for each in found[1]], abs=0.01)


def test_points_outside_of_the_picture_and_missing_ones_are_refused() -> None:
    ensemble = load_ensemble()
    with pytest.raises(OptionError, match="point is '64,3', which is not valid: give x from 0 to 63"):
        ensemble.plausible_colors(Picture(np.zeros((64, 64), np.uint8), None, "png"), PointOptions(x=64, y=3))
    with pytest.raises(MissingOption, match="y is missing: give a number of at least 0"):
        PointOptions(x=3)  # type: ignore[call-arg]


def test_expert_without_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureCache, "distribution", lambda *_: None)
    with pytest.raises(
        OptionError, match="category is 'cat', which is not valid: give one with another expert: cat predicts a color"
    ):
        load_ensemble().plausible_colors(Picture(np.zeros((64, 64), np.uint8), None, "png"), PointOptions(x=1, y=1, category="cat"))
