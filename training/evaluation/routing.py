"""How good the routes are: who is sent where, how honest the confidence is, and what a threshold buys.

From the calibrated probabilities of all choices `(n,k)`, the fallback's column among them, and the true column of each picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.router import Router
from training.evaluation.intervals import Bootstrap
from training.evaluation.study import Study

BINS = 10

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Routed:
    """Pictures whose category the bundle has.

    `sent` is the column that the threshold rule chose, `fell_back` whether it fell back; `unmapped` is the choice that stands for
    no category at all, which no threshold accepts, if there is one.
    """

    choices: tuple[str, ...]
    probabilities: Numbers
    truth: NDArray[np.int64]
    sent: NDArray[np.int64]
    fell_back: NDArray[np.bool_]
    unmapped: str | None

    @classmethod
    def of(cls, studies: Sequence[Study], router: Router, way: str = "routed") -> "Routed | None":
        """From the studies of pictures; None if the bundle has none of their categories."""
        names = router.choices
        known = [each for each in studies if each.category in names]
        if not known:
            return None
        return cls(
            names,
            np.array([[each.probabilities[way].get(name, 0.0) for name in names] for each in known]),
            np.array([names.index(each.category) for each in known]),
            np.array([names.index(each.routes[way].category) for each in known]),
            np.array([each.routes[way].fell_back for each in known]),
            None if router.fallback in router.categories else router.fallback,
        )

    @property
    def confidence(self) -> Numbers:
        """The probability of the likeliest choice `(n,)`."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the likeliest choice is the true one `(n,)`."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.truth)

    def within(self, k: int) -> NDArray[np.bool_]:
        """Whether the true choice is among the `k` likeliest `(n,)`."""
        own = self.probabilities[np.arange(len(self.truth)), self.truth]
        return np.asarray((self.probabilities > own[:, None]).sum(axis=1) < k)

    def confusion(self) -> NDArray[np.int64]:
        """Pictures of each choice (rows) by where the threshold rule sent them (columns)."""
        counts = np.zeros((len(self.choices), len(self.choices)), dtype=np.int64)
        np.add.at(counts, (self.truth, self.sent), 1)
        return counts

    def numbers(self, risk: float) -> dict[str, Any]:
        """Everything that the report says of routing, as plain values; `risk` is the share of wrong names that is wanted."""
        hits = {k: self.within(k) for k in (1, 3)}
        errors = {
            name: {f"top{k}_error": float(1 - hits[k][self.truth == index].mean()) for k in (1, 3)}
            for index, name in enumerate(self.choices)
            if (self.truth == index).any()
        }
        accepted = np.array([self.choices[best] != self.unmapped for best in self.probabilities.argmax(axis=1)])
        curve = coverage_accuracy(self.confidence, self.right, accepted)
        return {
            "pictures": len(self.truth),
            "top1": Bootstrap(len(self.truth)).share(self.right),
            "top3": Bootstrap(len(self.truth)).share(hits[3]),
            "fell_back": float(self.fell_back.mean()),
            "calibration_error": calibration_error(self.confidence, self.right),
            "reliability": reliability(self.confidence, self.right),
            "coverage_accuracy": curve,
            "wanted_risk": risk,
            "threshold_for_risk": threshold_for(curve, risk),
            "errors": errors,
            "confusion": {"categories": list(self.choices), "counts": self.confusion().tolist()},
        }


def reliability(confidence: Numbers, right: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Ten bins of equal width: how sure the router was on average, how often it was right, and on how many pictures."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {"confidence": float(confidence[places == i].mean()), "accuracy": float(right[places == i].mean()),
         "pictures": int((places == i).sum())}
        for i in range(BINS) if (places == i).any()
    ]  # fmt: skip


def calibration_error(confidence: Numbers, right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Guo et al. 2017, section 2): the bins' gaps between confidence and accuracy, weighted."""
    found = reliability(confidence, right)
    return sum(abs(each["confidence"] - each["accuracy"]) * each["pictures"] for each in found) / len(confidence)


def coverage_accuracy(confidence: Numbers, right: NDArray[np.bool_], named: NDArray[np.bool_]) -> list[dict[str, float]]:
    """For thresholds from 0 to 0.99: the share of pictures that are sent to a category, and how many of these rightly.

    What is not `named`, being taken for none of the categories, is sent to the fallback at any threshold.
    """
    rows = []
    for step in range(100):
        accepted = named & (confidence >= step / 100)
        if accepted.any():
            rows.append({"threshold": step / 100, "coverage": float(accepted.mean()), "accuracy": float(right[accepted].mean())})
    return rows


def threshold_for(curve: Sequence[Mapping[str, float]], risk: float) -> float | None:
    """The least threshold at which at most a share `risk` is sent wrongly, as `publish` chooses it; None if there is none."""
    within = [row["threshold"] for row in curve if 1 - row["accuracy"] <= risk]
    return within[0] if within else None


def least_certain(studies: Sequence[Study], share: float = 0.2) -> NDArray[np.bool_]:
    """The pictures `(n,)` whose likeliest choice has the least probability."""
    confidence = np.array([max(each.probabilities["routed"].values()) for each in studies])
    return np.asarray(confidence <= np.quantile(confidence, share))
