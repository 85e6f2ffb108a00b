"""Builds the report of an evaluation from the results of its pictures."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from training.data.dataset_index import Entry, digest
from training.evaluation import method
from training.evaluation.context import FEATURES, JUDGE, LPIPS, EvaluationContext
from training.evaluation.cross_category import cross_category_table
from training.evaluation.image_result import ImageResult
from training.evaluation.judge import Judge, judge_scores, scores_by_class, training_overlap
from training.evaluation.method import Method
from training.evaluation.results import (
    CategoryResult,
    Difference,
    DistributionResult,
    FeatureDistance,
    JudgeResult,
    MethodValue,
    Report,
)
from training.evaluation.robustness import robustness_results
from training.evaluation.routing import least_certain, router_result
from training.evaluation.scores import ScoreTable
from training.metrics.distribution import compare_distributions
from training.metrics.frechet import frechet_distance

# (method, baseline) of the differences in ΔE00 on all pictures
PAIRS = (
    (method.ROUTED, method.GRAY), (method.ROUTED, method.GENERAL), (method.ROUTED, method.ORACLE), (method.ROUTED, method.BEST),
    (method.WORST, method.ROUTED), (method.SOFT, method.ROUTED),
)  # fmt: skip


def build_report(
    context: EvaluationContext,
    results: Sequence[ImageResult],
    table: ScoreTable,
    entries: Sequence[Entry],
    index_entries: Sequence[Entry],
    judge: Judge | None,
    risk: float,
) -> Report:
    """The report on the `results` of the pictures of `entries`, and their scores in `table`; the others are as for `evaluate`."""
    bundle = context.bundles[""].bundle
    routers = [router_result(results, ensemble.bundle.router, name, risk) for name, ensemble in context.bundles.items()]
    return Report(
        bundle=bundle.label,
        others={name: ensemble.bundle.label for name, ensemble in context.bundles.items() if name},
        data=digest(entries),
        sets={name: sum(entry.set == name for entry in entries) for name in sorted({entry.set for entry in entries})},
        pictures=len(results),
        methods=[table.summary(each) for each in table.methods],
        differences=_differences(context, results, table),
        between_bundles=_between_bundles(context, table),
        categories=[_category(name, own) for name, own in table.by_category()],
        experts=dict(bundle.manifest.categories),
        cross_category=cross_category_table(
            [result.category for result in results], [result.expert_errors for result in results]
        ),
        routers=[router for router in routers if router is not None],
        distributions=_distributions(results),
        robustness=robustness_results(
            [result.varied for result in results], [result.category for result in results], context.bundles[""].bundle.router
        ),
        feature_distances=_feature_distances(context, results),
        judge=_judge_result(context, results, entries, index_entries, judge) if judge else None,
    )  # fmt: skip


def _differences(context: EvaluationContext, results: Sequence[ImageResult], table: ScoreTable) -> list[Difference]:
    differences = [_difference(table, Method(name=name), Method(name=baseline)) for name, baseline in PAIRS]
    for bundle in context.bundles:
        if bundle:
            routed, general = Method(name=method.ROUTED, bundle=bundle), Method(name=method.GENERAL, bundle=bundle)
            differences += [_difference(table, routed, baseline) for baseline in (Method(name=method.GRAY), general)]
    named = set(context.bundles[""].bundle.manifest.categories) - {context.bundles[""].bundle.router.fallback}
    subsets = (
        ("least_certain", least_certain(results), method.SOFT, method.ROUTED),
        ("fell_back", np.array([result.routes[""].fell_back for result in results]), method.GENERAL, method.FORCED),
        ("no_category", np.array([result.category not in named for result in results]), method.GENERAL, method.FORCED),
    )
    for subset, mask, name, baseline in subsets:
        if mask.any():
            own = _difference(table.pick(mask), Method(name=name), Method(name=baseline))
            differences.append(own.model_copy(update={"pictures": subset}))
    return differences


def _between_bundles(context: EvaluationContext, table: ScoreTable) -> list[Difference]:
    """The differences between every two bundles, as they route."""
    routed = [Method(name=method.ROUTED, bundle=bundle) for bundle in context.bundles] if len(context.bundles) > 1 else []
    return [_difference(table, own, other) for own in routed for other in routed if own != other]


def _difference(table: ScoreTable, own: Method, baseline: Method) -> Difference:
    return Difference(method=own, baseline=baseline, delta_e=table.difference(own, baseline))


def _category(name: str, own: ScoreTable) -> CategoryResult:
    routed = Method(name=method.ROUTED)
    return CategoryResult(
        name=name,
        pictures=len(own),
        methods=[own.summary(each) for each in own.methods if not each.bundle or each.name == method.ROUTED],
        routed_minus_gray=own.difference(routed, Method(name=method.GRAY)),
        routed_minus_general=own.difference(routed, Method(name=method.GENERAL)),
        routed_minus_oracle=own.difference(routed, Method(name=method.ORACLE)),
    )


def _distributions(results: Sequence[ImageResult]) -> list[DistributionResult]:
    categories, truth = [result.category for result in results], Method(name=method.TRUTH)
    true = [result.colors[truth] for result in results]
    compared = {
        each: compare_distributions(categories, [result.colors[each] for result in results], true)
        for each in results[0].colors
        if each != truth
    }
    return [DistributionResult(method=each, **asdict(distribution)) for each, distribution in compared.items()]


def _feature_distances(context: EvaluationContext, results: Sequence[ImageResult]) -> list[FeatureDistance]:
    distances, truth = [], Method(name=method.TRUTH)
    for key in FEATURES:
        if key in context.extractor_names and len(results) > 1:
            features = {
                each: np.array([result.features[key][each] for result in results], dtype=float) for each in results[0].features[key]
            }
            values = {each: frechet_distance(own, features[truth]) for each, own in features.items() if each != truth}
            distances.append(_feature_distance(context.extractor_names[key], values))
    if LPIPS in context.extractor_names:
        methods = [each for each in results[0].features[LPIPS] if each != truth]
        values = {each: float(np.mean([result.features[LPIPS][each] for result in results])) for each in methods}
        distances.append(_feature_distance(context.extractor_names[LPIPS], values))
    return distances


def _feature_distance(name: str, values: dict[Method, float]) -> FeatureDistance:
    return FeatureDistance(name=name, distances=[MethodValue(method=each, value=value) for each, value in values.items()])


def _judge_result(
    context: EvaluationContext,
    results: Sequence[ImageResult],
    entries: Sequence[Entry],
    index_entries: Sequence[Entry],
    judge: Judge,
) -> JudgeResult:
    judged = [result for result in results if result.category in judge.categories]
    labels = np.array([judge.categories.index(result.category) for result in judged])
    methods = judged[0].features[JUDGE]
    probabilities = {each: np.array([result.features[JUDGE][each] for result in judged]) for each in methods}
    known_pictures, overlaps = training_overlap(judge, context.bundles, entries, index_entries)
    return JudgeResult(
        judge=judge.name,
        pictures=len(judged),
        skipped=len(results) - len(judged),
        methods=judge_scores(probabilities, labels),
        by_class=scores_by_class(probabilities, labels, judge.categories),
        trained_on=list(judge.sets),
        known_pictures=known_pictures,
        overlaps=overlaps,
    )
