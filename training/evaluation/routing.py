"""The results of a router: accuracy, calibration, thresholds, and the confusion matrix of its routes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from models.router import Router
from training.evaluation.image_result import ImageResult
from training.evaluation.results import Confusion, RouterResult, TopErrors
from training.metrics.bootstrap import Bootstrap
from training.metrics.calibration import calibration_error, coverage_accuracy, reliability, threshold_for_risk


def router_result(results: Sequence[ImageResult], router: Router, bundle: str, risk: float) -> RouterResult | None:
    """The result of the router of a bundle, whose name is `bundle`; None if it has none of the categories of the pictures.

    `risk` is the share of misrouted pictures for which a threshold is searched.
    """
    names = router.choices
    known = [result for result in results if result.category in names]
    if not known:
        return None
    probabilities = np.array([[result.probabilities[bundle].get(name, 0.0) for name in names] for result in known])
    truth = np.array([names.index(result.category) for result in known])
    routed = np.array([names.index(result.routes[bundle].category) for result in known])
    confidence, best = probabilities.max(axis=1), probabilities.argmax(axis=1)
    correct, in_top3 = best == truth, _in_top(3, probabilities, truth)
    unmapped = None if router.fallback in router.categories else names.index(router.fallback)
    points = coverage_accuracy(confidence, correct, best != unmapped)
    bootstrap = Bootstrap(len(known))
    return RouterResult(
        bundle=bundle,
        threshold=router.threshold,
        pictures=len(known),
        top1=bootstrap.share(_in_top(1, probabilities, truth)),
        top3=bootstrap.share(in_top3),
        fell_back=float(np.mean([result.routes[bundle].fell_back for result in known])),
        calibration_error=calibration_error(confidence, correct),
        reliability=reliability(confidence, correct),
        coverage_accuracy=points,
        accepted_risk=risk,
        threshold_for_risk=threshold_for_risk(points, risk),
        errors={
            name: TopErrors(*(float(1 - hits[truth == index].mean()) for hits in (_in_top(1, probabilities, truth), in_top3)))
            for index, name in enumerate(names)
            if (truth == index).any()
        },
        confusion=Confusion(
            categories=list(names), counts=confusion_matrix(truth, routed, labels=range(len(names))).tolist()
        ),
    )  # fmt: skip


def least_certain(results: Sequence[ImageResult], share: float = 0.2) -> NDArray[np.bool_]:
    """Flags `(n,)` of the pictures with the lowest confidence."""
    confidence = np.array([max(result.probabilities[""].values()) for result in results])
    return np.asarray(confidence <= np.quantile(confidence, share))


def _in_top(k: int, probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Flags `(n,)` of the pictures whose true choice is among the `k` most probable; ties count as correct."""
    own = probabilities[np.arange(len(truth)), truth]
    return np.asarray((probabilities > own[:, None]).sum(axis=1) < k)
