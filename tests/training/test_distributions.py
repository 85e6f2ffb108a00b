"""Distances between distributions: of features (Fréchet), and of colors (Jensen-Shannon)."""

import numpy as np
import pytest

from training.metrics.distribution import cell_counts, chroma_histogram, divergence
from training.metrics.frechet import frechet_distance


def test_frechet_distance_of_normal_samples_has_the_known_value() -> None:
    rng = np.random.default_rng(0)
    first, moved, wide = rng.normal(0, 1, (40_000, 3)), rng.normal(1, 1, (40_000, 3)), rng.normal(0, 3, (40_000, 3))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, moved) == pytest.approx(3, abs=0.1)  # 1 for each dimension
    assert frechet_distance(first, wide) == pytest.approx(12, abs=0.3)  # (3 - 1)^2 for each dimension


def test_divergence_is_0_for_equal_and_1_for_disjoint_distributions() -> None:
    one, other = np.array([4, 4, 0, 0]), np.array([0, 0, 1, 9])
    assert divergence(one, 3 * one) == 0
    assert divergence(one, other) == 1
    assert 0.1 < divergence(one, np.array([4, 4, 2, 2])) < 0.5


def test_pixels_of_one_color_are_in_one_cell_and_one_bin_of_chroma() -> None:
    red = cell_counts(np.full((2, 5, 5), [[[60.0]], [[40.0]]], np.float32))
    assert (red.sum(), red.max()) == (25, 25)
    histogram = chroma_histogram(red)
    assert histogram.argmax() == 7  # the center of the cell, (65, 45), has a chroma of 79
    assert histogram.sum() == 1
