"""Calibration of confidences: its error, thresholds for a risk, and the temperature and threshold of a published router."""

import numpy as np
import pytest
import torch

from training.metrics.calibration import calibration_error, coverage_accuracy, reliability, threshold_for_risk
from training.publishing.calibration import choose_temperature, choose_threshold


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.full(1000, 0.75)
    assert calibration_error(confidence, np.arange(1000) % 4 > 0) == pytest.approx(0)
    assert calibration_error(confidence, np.arange(1000) % 2 > 0) == pytest.approx(0.25)
    last = reliability(np.array([0.05, 1.0]), np.array([False, True]))[-1]
    assert last._asdict() == {"confidence": 1, "accuracy": 1, "pictures": 1}


def test_threshold_for_a_risk_follows_from_coverage_and_accuracy() -> None:
    confidence = np.linspace(0, 0.995, 200)
    mapped = np.ones(200, bool)
    points = coverage_accuracy(confidence, confidence >= 0.5, mapped)
    assert points[0]._asdict() == {"threshold": 0.0, "coverage": 1.0, "accuracy": pytest.approx(0.5, abs=0.01)}
    assert threshold_for_risk(points, 0.0) == pytest.approx(0.5, abs=0.011)
    assert threshold_for_risk(points, 0.25) == pytest.approx(0.34, abs=0.02)
    assert threshold_for_risk(coverage_accuracy(confidence, confidence < 0, mapped), 0.1) is None


def test_unmapped_pictures_are_never_accepted() -> None:
    correct, mapped = np.array([True] * 8 + [False] * 2), np.array([False] * 8 + [True] * 2)
    points = coverage_accuracy(np.full(10, 0.9), correct, mapped)
    assert points[0]._asdict() == {"threshold": 0, "coverage": 0.2, "accuracy": 0}


def test_temperature_corrects_overconfidence() -> None:
    torch.manual_seed(0)
    truth = torch.randn(4000, 5)
    labels = torch.distributions.Categorical(logits=truth).sample()
    assert choose_temperature(truth, labels) == pytest.approx(1.0, abs=0.1)
    assert choose_temperature(2 * truth, labels) == pytest.approx(2.0, abs=0.2)


def test_threshold_keeps_the_accepted_risk() -> None:
    confidence = torch.linspace(0.34, 0.98, 200)
    probabilities = torch.stack((confidence, 1 - confidence, torch.zeros(200)), dim=1)
    labels = (confidence < 0.6).long()  # those with a low confidence are of the other category
    threshold = choose_threshold(probabilities, labels, risk=0.05)
    accepted = (probabilities.max(dim=1).values >= threshold) & (probabilities.argmax(dim=1) < 2)
    wrong = probabilities.argmax(dim=1) != labels
    assert float(wrong[accepted].float().mean()) <= 0.05
    assert threshold > 0.5
    assert choose_threshold(probabilities, probabilities.argmax(dim=1), risk=0.05) == 0.0
