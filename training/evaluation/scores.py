"""The scores of all pictures for all methods: means, ratios and differences with confidence intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.image_result import ImageResult
from training.evaluation.method import GRAY, TRUTH, Method
from training.evaluation.results import MethodScores
from training.metrics.bootstrap import UNDEFINED, Bootstrap, Estimate

METRICS = ("psnr", "ssim", "delta_e", "ab_mae", "ab_auc", "colorfulness", "edge_near", "edge_far")

MIN_CONTRAST = 0.05  # share of the true contrast far from edges, below which bleeding is not defined


@dataclass(frozen=True)
class ScoreTable:
    """`values[method][metric]` `(n,)` over pictures, with their `categories` `(n,)`; undefined values are not numbers."""

    categories: NDArray[np.str_]
    values: dict[Method, dict[str, NDArray[np.float64]]]

    @classmethod
    def from_results(cls, results: Sequence[ImageResult]) -> "ScoreTable":
        """The scores of the results of pictures."""
        values = {
            method: {metric: np.array([result.scores[method].get(metric, np.nan) for result in results]) for metric in METRICS}
            for method in results[0].scores
        }
        return cls(np.array([result.category for result in results]), values)

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def methods(self) -> list[Method]:
        """All methods except the truth."""
        return [method for method in self.values if method.name != TRUTH]

    def pick(self, mask: NDArray[np.bool_]) -> "ScoreTable":
        """The scores of some pictures."""
        values = {method: {metric: row[mask] for metric, row in rows.items()} for method, rows in self.values.items()}
        return ScoreTable(self.categories[mask], values)

    def by_category(self) -> Iterable[tuple[str, "ScoreTable"]]:
        """Each category with its pictures."""
        for name in sorted(set(self.categories.tolist())):
            yield name, self.pick(self.categories == name)

    def summary(self, method: Method) -> MethodScores:
        """The means of all scores of a method, and its ratios and differences to gray and the truth."""
        bootstrap = Bootstrap(len(self))
        own, gray, truth = self.values[method], self.values[Method(name=GRAY)], self.values[Method(name=TRUTH)]
        difference = own["colorfulness"] - truth["colorfulness"]
        return MethodScores(
            method=method,
            **{metric: bootstrap.mean(own[metric]) for metric in METRICS},
            psnr_gain=bootstrap.mean(own["psnr"] - gray["psnr"]),
            delta_e_ratio=bootstrap.ratio(own["delta_e"], gray["delta_e"]),
            colorfulness_ratio=bootstrap.ratio(own["colorfulness"], truth["colorfulness"]),
            colorfulness_of_means=_absolute(bootstrap.mean(difference)),
            colorfulness_by_picture=bootstrap.mean(np.abs(difference)),
            edge_bleeding=self._bleeding(method),
        )

    def difference(self, method: Method, baseline: Method, metric: str = "delta_e") -> Estimate:
        """The mean of a method minus that of another one, paired by picture."""
        return Bootstrap(len(self)).mean(self.values[method][metric] - self.values[baseline][metric])

    def _bleeding(self, method: Method) -> Estimate:
        """1 - near / far; undefined if there is too little color at edges."""
        near, far = (self.values[method][metric] for metric in ("edge_near", "edge_far"))
        defined = np.isfinite(far)
        if not defined.any() or far[defined].mean() < MIN_CONTRAST:
            return UNDEFINED
        kept = Bootstrap(len(self)).ratio(np.nan_to_num(near), np.nan_to_num(far))
        if kept.value is None or kept.low is None or kept.high is None:
            return Estimate(None if kept.value is None else 1 - kept.value, None, None)
        return Estimate(1 - kept.value, 1 - kept.high, 1 - kept.low)


def _absolute(estimate: Estimate) -> Estimate:
    """The estimate of an absolute value."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return Estimate(None if estimate.value is None else abs(estimate.value), None, None)
    ends = abs(estimate.low), abs(estimate.high)
    return Estimate(abs(estimate.value), min(ends) if estimate.low * estimate.high > 0 else 0.0, max(ends))
