"""How sure a mean is: bootstrap intervals over pictures (Efron 1979), paired, because all ways paint the same pictures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, t

SAMPLES = 2000
COVERS = 0.95
BLOCK = 250  # samples at a time, so that fifty thousand pictures need 100 MiB

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value, and the interval that holds it in 95 of 100 such samples of pictures; a single one has no ends."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples `n` pictures, the same way for everything that is asked, so that differences are paired.

    Percentiles of few pictures are too narrow; they are widened as Student's t is wider than the normal distribution (Hesterberg
    2015, on small samples), which leaves them as they are from some fifty on.

    Args:
        n: number of pictures.
        groups: `(n,)` of whole numbers; what has the same one is drawn together (the votes of a person). None draws each by itself.
        seed: of the samples.
    """

    def __init__(self, n: int, groups: NDArray[np.int64] | None = None, seed: int = 0) -> None:
        self.seed = seed
        self.groups = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]

    def mean(self, values: Values) -> Interval:
        """Of the mean of `(n,)`; values that are not numbers are left out."""
        known = np.isfinite(values)
        return self.ratio(np.where(known, values, 0.0), known.astype(float))

    def ratio(self, above: Values, below: Values) -> Interval:
        """Of the sum of `above` `(n,)` over the sum of `below` `(n,)`."""
        total = float(below.sum())
        if not total:
            return Interval(float("nan"), float("nan"), float("nan"))
        value = float(above.sum()) / total
        count = int(self.groups.max()) + 1
        sums = np.stack([np.bincount(self.groups, each, count) for each in (above, below)], axis=1)
        there = int((sums[:, 1] != 0).sum())
        if there < 2:
            return Interval(value, float("nan"), float("nan"))
        rng = np.random.default_rng(self.seed)
        drawn = [rng.multinomial(count, np.full(count, 1 / count), BLOCK) @ sums for _ in range(SAMPLES // BLOCK)]
        sampled = np.concatenate(drawn)
        found = sampled[sampled[:, 1] != 0]
        low, high = np.quantile(found[:, 0] / found[:, 1], ((1 - COVERS) / 2, (1 + COVERS) / 2))
        wider = float(t.ppf((1 + COVERS) / 2, there - 1) / norm.ppf((1 + COVERS) / 2) * (there / (there - 1)) ** 0.5)
        return Interval(value, value - wider * (value - float(low)), value + wider * (float(high) - value))

    def share(self, flags: NDArray[np.bool_]) -> Interval:
        """Of a share of `(n,)`: within 0 and 1, and at least as wide as Wilson's (1927): all of few is not certain."""
        found = self.mean(flags.astype(float))
        wilson = binomtest(int(flags.sum()), len(flags)).proportion_ci(COVERS, method="wilson")
        low, high = (float(end) for end in (wilson.low, wilson.high))
        if np.isfinite(found.low):
            low, high = max(0.0, min(low, found.low)), min(1.0, max(high, found.high))
        return Interval(found.value, low, high)
