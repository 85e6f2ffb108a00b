"""The scores of all pictures under all ways, and what is said of them: means, ratios, and differences with their intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import Bootstrap, Interval
from training.evaluation.study import Study

METRICS = ("psnr", "ssim", "delta_e", "ab_mae", "ab_auc", "colorfulness", "edge_near", "edge_far")

LEAST_CONTRAST = 0.05  # of the true one, far from edges, for which it can be said how much of it bleeds


@dataclass(frozen=True)
class Scored:
    """`values[way][metric]` is `(n,)` over pictures, in the order of `categories` `(n,)`; what has no value is not a number."""

    categories: NDArray[np.str_]
    values: dict[str, dict[str, NDArray[np.float64]]]

    @classmethod
    def of(cls, studies: Sequence[Study]) -> "Scored":
        """From the studies of pictures."""
        values = {
            way: {metric: np.array([each.scores[way].get(metric, np.nan) for each in studies]) for metric in METRICS}
            for way in studies[0].scores
        }
        return cls(np.array([each.category for each in studies]), values)

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def ways(self) -> list[str]:
        """All but the truth."""
        return [way for way in self.values if way != "truth"]

    def pick(self, chosen: NDArray[np.bool_]) -> "Scored":
        """Only the chosen pictures."""
        values = {way: {metric: each[chosen] for metric, each in row.items()} for way, row in self.values.items()}
        return Scored(self.categories[chosen], values)

    def by_category(self) -> Iterable[tuple[str, "Scored"]]:
        """Each category with its pictures."""
        for name in sorted(set(self.categories.tolist())):
            yield name, self.pick(self.categories == name)

    def row(self, way: str) -> dict[str, Interval]:
        """What is said of a way: each metric's mean, and beside it what it is of gray's and the truth's.

        `psnr_gain` is PSNR minus gray's, `delta_e_ratio` ΔE00 over gray's, `colorfulness_ratio` over the truth's. The distance of
        colorfulness to the truth's has two published definitions: `colorfulness_of_means` is that of the means,
        `colorfulness_by_picture` the mean of each picture's.
        """
        sampled, mine, gray, truth = Bootstrap(len(self)), self.values[way], self.values["gray"], self.values["truth"]
        difference = mine["colorfulness"] - truth["colorfulness"]
        of_means = sampled.mean(difference)
        return {
            **{metric: sampled.mean(mine[metric]) for metric in METRICS},
            "psnr_gain": sampled.mean(mine["psnr"] - gray["psnr"]),
            "delta_e_ratio": sampled.ratio(mine["delta_e"], gray["delta_e"]),
            "colorfulness_ratio": sampled.ratio(mine["colorfulness"], truth["colorfulness"]),
            "colorfulness_of_means": _magnitude(of_means),
            "colorfulness_by_picture": sampled.mean(np.abs(difference)),
            "edge_bleeding": self._bleeding(way),
        }

    def _bleeding(self, way: str) -> Interval:
        """1 - near / far; not a number where there is no color at edges to bleed."""
        near, far = (self.values[way][metric] for metric in ("edge_near", "edge_far"))
        there = np.isfinite(far)
        if not there.any() or far[there].mean() < LEAST_CONTRAST:
            return Interval(np.nan, np.nan, np.nan)
        kept = Bootstrap(len(self)).ratio(np.nan_to_num(near), np.nan_to_num(far))
        return Interval(1 - kept.value, 1 - kept.high, 1 - kept.low)

    def difference(self, way: str, other: str, metric: str = "delta_e") -> Interval:
        """The mean of `way` minus `other`, picture by picture."""
        return Bootstrap(len(self)).mean(self.values[way][metric] - self.values[other][metric])


def _magnitude(found: Interval) -> Interval:
    """The interval of an absolute value."""
    ends = abs(found.low), abs(found.high)
    return Interval(abs(found.value), min(ends) if found.low * found.high > 0 else 0.0, max(ends))
