"""Evaluation of a bundle on crops of packaged photographs: its methods, differences, routes, and judge."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.ensemble import Ensemble
from models.imaging import Picture
from models.options import RouteOptions
from training.data.dataset_index import Entry, digest, read_index, read_pictures
from training.data.packs import decode_rgb
from training.evaluation.evaluate import Evaluation
from training.evaluation.image_result import merge_rgb
from training.evaluation.judge import shared_pictures, trained_on
from training.evaluation.method import Method
from training.evaluation.results import Difference, MethodScores
from training.metrics.bootstrap import Estimate
from training.metrics.color import ciede2000
from training.report.render import render_markdown

pytestmark = pytest.mark.slow

ROUTED, VIVID = Method(name="routed"), Method(name="routed", bundle="vivid")


def scores_of(evaluation: Evaluation, method: Method) -> MethodScores:
    return next(scores for scores in evaluation.report.methods if scores.method == method)


def difference(rows: list[Difference], method: Method, baseline: Method) -> Estimate:
    return next(row.delta_e for row in rows if (row.method, row.baseline) == (method, baseline))


def gray_picture(rgb: np.ndarray) -> Picture:
    return Picture(np.array(Image.fromarray(rgb).convert("L")), None, "PNG")


def test_bounds_and_baselines_are_as_defined(evaluation: Evaluation) -> None:
    values = evaluation.table.values
    errors = {method.name: scores["delta_e"] for method, scores in values.items() if not method.bundle}
    routes = [errors[name] for name in ("routed", "general", "oracle", "forced")]
    assert (errors["best"] <= np.minimum.reduce(routes) + 1e-9).all()
    assert (errors["worst"] >= np.maximum.reduce(routes) - 1e-9).all()
    assert (errors["truth"] == 0).all()
    assert values[Method(name="gray")]["colorfulness"].max() < 1e-3


@pytest.mark.parametrize("name", ["routed", "soft", "general", "oracle"])
def test_methods_of_the_bundle_equal_what_the_ensemble_predicts(
    name: str, evaluation: Evaluation, entries: list[Entry], ensemble: Ensemble
) -> None:
    errors = dict(zip(evaluation.names, evaluation.table.values[Method(name=name)]["delta_e"], strict=True))
    for entry, content in read_pictures(entries[:3]):
        options = {
            "routed": RouteOptions(), "soft": RouteOptions(routing="soft"), "general": RouteOptions(category="general"),
            "oracle": RouteOptions(category=entry.category),
        }  # fmt: skip
        rgb = decode_rgb(content)
        picture = gray_picture(rgb)
        predicted = merge_rgb(picture, ensemble.predict(picture, options[name])[0])
        assert errors[entry.name] == pytest.approx(ciede2000(predicted, rgb), abs=1e-4)


def test_worse_bundle_differs_with_the_expected_sign(evaluation: Evaluation) -> None:
    report = evaluation.report
    value, low, high = difference(report.between_bundles, VIVID, ROUTED)
    assert 0 < low < value < high
    assert difference(report.between_bundles, ROUTED, VIVID) == pytest.approx((-value, -high, -low), abs=1e-4)
    assert difference(report.differences, VIVID, Method(name="gray")).low > 0
    ratios = [scores_of(evaluation, method).colorfulness_ratio.value for method in (VIVID, ROUTED)]
    assert ratios[0] > 1.5 * ratios[1]
    assert evaluation.table.difference(ROUTED, ROUTED) == (0, 0, 0)
    text = render_markdown(report)
    assert "- Is vivid closer to the truth than this bundle? No. ΔE00 +" in text
    assert "- Where does it fail?" in text


def test_router_is_scored_on_the_probabilities_of_inference(
    evaluation: Evaluation, entries: list[Entry], ensemble: Ensemble
) -> None:
    router = evaluation.report.router
    assert router is not None
    correct, misrouted = 0, 0
    for entry, content in read_pictures(entries):
        picture = gray_picture(decode_rgb(content))
        probabilities = ensemble.bundle.router.scores(ensemble.inspect(picture)[0])
        correct += max(probabilities, key=probabilities.__getitem__) == entry.category
        misrouted += ensemble.route(picture).category != entry.category
    assert router.top1.value == pytest.approx(correct / len(entries), abs=1e-4)
    counts = np.array(router.confusion.counts)
    assert counts.sum() - np.trace(counts) == misrouted
    assert set(router.errors) == {"cat", "food", "flower", "general"}
    assert set(evaluation.report.cross_category["cat"]) == set(ensemble.bundle.manifest.experts)


def test_judge_scores_all_methods_and_reports_its_training_data(evaluation: Evaluation) -> None:
    judge = evaluation.report.judge
    assert judge is not None
    methods = {str(scores.method) for scores in judge.methods}
    assert {"gray", "routed", "vivid: routed", "routed, T = 1", "routed, T = 0.38", "truth"} <= methods
    assert judge.scores("gray").gain == (0, 0, 0)
    assert sum(scores.best or 0 for scores in judge.methods) >= judge.pictures == 16
    assert {row.name for row in judge.by_class} == {"cat", "food", "flower", "general"}
    assert judge.trained_on == ["photographs"]
    assert judge.known_pictures == 0
    own = next(overlap for overlap in judge.overlaps if not overlap.bundle)
    assert (own.trained_on, own.shared_with_judge) == (None, None)  # it was trained with another dataset index


def test_shared_training_pictures_are_found_by_the_digest(manifest: Path) -> None:
    entries = read_index(manifest)
    for sets in (("photographs",), ("tiny",), ("photographs", "tiny")):
        data = digest([entry for entry in entries if entry.split == "train" and entry.set in sets])
        assert trained_on(data, entries) == sets
    assert trained_on("0" * 64, entries) is None
    photographs = {entry.sha256 for entry in entries if entry.set == "photographs" and entry.split == "train"}
    shared = sum(entry.set == "tiny" and entry.sha256 in photographs for entry in entries)
    assert shared_pictures(entries, ("photographs",), ("tiny",)) == shared
