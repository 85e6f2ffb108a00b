"""Calibration of confidences: reliability, expected calibration error, coverage against accuracy, and thresholds for a risk."""

import training.networks.torchvision_compat  # noqa: F401 - before torchmetrics, which imports torchvision

# isort: split
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_calibration_error

BINS = 10

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class ReliabilityBin(NamedTuple):
    """Mean confidence, accuracy and number of pictures of a bin of confidence."""

    confidence: float
    accuracy: float
    pictures: int


class CoveragePoint(NamedTuple):
    """The share of pictures that reach a threshold, and how many of these are correct."""

    threshold: float
    coverage: float
    accuracy: float


def reliability(confidence: Floats, correct: Flags) -> list[ReliabilityBin]:
    """Ten bins of confidence `(n,)` of equal width, without empty ones; `correct` `(n,)` are flags."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    chosen = [bins == index for index in range(BINS) if (bins == index).any()]
    return [ReliabilityBin(float(confidence[own].mean()), float(correct[own].mean()), int(own.sum())) for own in chosen]


def calibration_error(confidence: Floats, correct: Flags) -> float:
    """The expected calibration error with ten bins (Guo et al. 2017, section 2), by torchmetrics."""
    return float(binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct).int(), n_bins=BINS))


def coverage_accuracy(confidence: Floats, correct: Flags, mapped: Flags) -> list[CoveragePoint]:
    """Points for thresholds from 0 to 0.99. Pictures that are not `mapped` to a category are never accepted."""
    points = []
    for step in range(100):
        accepted = mapped & (confidence >= step / 100)
        if accepted.any():
            points.append(CoveragePoint(step / 100, float(accepted.mean()), float(correct[accepted].mean())))
    return points


def threshold_for_risk(points: Sequence[CoveragePoint], risk: float) -> float | None:
    """The lowest threshold at which at most a share `risk` of the accepted pictures is wrong; None if there is none."""
    return next((point.threshold for point in points if 1 - point.accuracy <= risk), None)
