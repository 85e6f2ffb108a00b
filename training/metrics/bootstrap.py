"""Confidence intervals by the bootstrap over pictures (Efron 1979), paired, because all methods colorize the same pictures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t

SAMPLES = 2000
COVERAGE = 0.95
BLOCK = 250  # samples at a time, which bounds the memory to 100 MiB for 50,000 pictures

Values = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and its 95% confidence interval; None for what is not defined, as the interval of a single picture."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """-1 or 1 for a value whose interval does not contain 0, otherwise 0."""
        if self.low is None or self.high is None:
            return 0
        return -1 if self.high < 0 else 1 if self.low > 0 else 0


UNDEFINED = Estimate(None, None, None)


class Bootstrap:
    """Resamples `n` pictures in the same way for every statistic, so that differences are paired.

    Percentile intervals of few pictures are too narrow. They are widened by the ratio of Student's t to the normal distribution
    (Hesterberg 2015, on small samples), which has no effect from some fifty pictures on.

    Args:
        n: number of pictures.
        groups: `(n,)` integers; values of the same group are resampled together, such as the votes of a person. None for no groups.
        seed: of the samples.
    """

    def __init__(self, n: int, groups: NDArray[np.int64] | None = None, seed: int = 0) -> None:
        self.seed = seed
        self.groups = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]

    def mean(self, values: Values) -> Estimate:
        """The mean of `(n,)`, without values that are not numbers."""
        known = np.isfinite(values)
        return self.ratio(np.where(known, values, 0.0), known.astype(float))

    def ratio(self, numerator: Values, denominator: Values) -> Estimate:
        """The sum of `numerator` `(n,)` over the sum of `denominator` `(n,)`."""
        total = float(denominator.sum())
        if not total:
            return UNDEFINED
        value = float(numerator.sum()) / total
        count = int(self.groups.max()) + 1
        sums = np.stack([np.bincount(self.groups, values, count) for values in (numerator, denominator)], axis=1)
        effective = int((sums[:, 1] != 0).sum())
        if effective < 2:
            return Estimate(value, None, None)
        rng = np.random.default_rng(self.seed)
        blocks = [rng.multinomial(count, np.full(count, 1 / count), BLOCK) @ sums for _ in range(SAMPLES // BLOCK)]
        sampled = np.concatenate(blocks)
        sampled = sampled[sampled[:, 1] != 0]
        low, high = np.quantile(sampled[:, 0] / sampled[:, 1], ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
        quantile = (1 + COVERAGE) / 2
        widening = float(t.ppf(quantile, effective - 1) / norm.ppf(quantile) * (effective / (effective - 1)) ** 0.5)
        return Estimate(value, value - widening * (value - float(low)), value + widening * (float(high) - value))

    def share(self, flags: NDArray[np.bool_]) -> Estimate:
        """The share of `(n,)` flags, within 0 and 1, at least as wide as the interval of Wilson (1927)."""
        estimate = self.mean(flags.astype(float))
        wilson = binomtest(int(flags.sum()), len(flags)).proportion_ci(COVERAGE, method="wilson")
        low, high = (float(end) for end in (wilson.low, wilson.high))
        if estimate.low is not None and estimate.high is not None:
            low, high = max(0.0, min(low, estimate.low)), min(1.0, max(high, estimate.high))
        return Estimate(estimate.value, low, high)
