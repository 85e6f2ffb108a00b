"""Bootstrap intervals: their width, their coverage, and the sign of a difference."""

import numpy as np
import pytest

from training.metrics.bootstrap import UNDEFINED, Bootstrap


def test_interval_narrows_with_the_number_of_pictures() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(2, 1, 900)
    wide, narrow = Bootstrap(100).mean(values[:100]), Bootstrap(900).mean(values)
    assert narrow.low < 2 < narrow.high
    assert wide.high - wide.low == pytest.approx(2 * 1.96 / 10, rel=0.2)
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 / 30, rel=0.2)


@pytest.mark.slow
def test_intervals_contain_the_true_mean_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(2)
    estimates = [Bootstrap(60).mean(rng.exponential(1, 60)) for _ in range(200)]
    assert 0.88 < np.mean([estimate.low < 1 < estimate.high for estimate in estimates]) < 0.99
    small = [Bootstrap(5).mean(rng.normal(0, 1, 5)) for _ in range(300)]
    assert np.mean([estimate.sign == 0 for estimate in small]) > 0.9
    assert Bootstrap(1).mean(np.array([4.0])).sign == 0


def test_share_of_all_of_a_few_pictures_is_uncertain() -> None:
    estimate = Bootstrap(5).share(np.ones(5, bool))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low < 0.7
    many = Bootstrap(1000).share(np.arange(1000) % 2 > 0)
    assert 0.46 < many.low < 0.5 < many.high < 0.54


def test_difference_within_its_interval_has_no_sign() -> None:
    noise = np.random.default_rng(3).normal(0, 1, 200)
    assert Bootstrap(200).mean(noise - noise.mean()).sign == 0
    assert Bootstrap(200).mean(noise - noise.mean() + 0.5).sign == 1
    assert Bootstrap(200).mean(noise - noise.mean() - 0.5).sign == -1
    assert Bootstrap(200).mean(np.zeros(200)).sign == 0


def test_grouped_values_are_resampled_together() -> None:
    votes = np.repeat([0.0, 1.0] * 5, 20)  # ten people who vote alike on all of their twenty pictures
    independent, grouped = Bootstrap(200).mean(votes), Bootstrap(200, np.repeat(np.arange(10), 20)).mean(votes)
    assert grouped.high - grouped.low > 3 * (independent.high - independent.low)


def test_mean_ignores_undefined_values() -> None:
    estimate = Bootstrap(4).mean(np.array([1.0, np.nan, 3.0, np.nan]))
    assert (estimate.value, estimate.low < 1, estimate.high > 3) == (2, True, True)
    assert Bootstrap(2).mean(np.array([np.nan, np.nan])) == UNDEFINED
