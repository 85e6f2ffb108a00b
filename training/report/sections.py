"""The tables and sentences that the template of a report inserts."""

from training.evaluation.method import ROUTED, TITLES
from training.evaluation.results import JudgeResult, MethodScores, Report, RouterResult
from training.metrics.bootstrap import Estimate
from training.metrics.classification import error_types
from training.report.formatting import difference, difference_title, errors, interval, number, percent, table

SCORES: dict[str, tuple[str, str]] = {  # field: (column, format)
    "psnr": ("PSNR, dB", ".2f"), "ssim": ("SSIM", ".3f"), "ab_mae": ("ab error", ".2f"), "ab_auc": ("area under its curve", ".3f"),
    "colorfulness": ("colorfulness", ".2f"), "colorfulness_of_means": ("its distance: of means", ".2f"),
    "colorfulness_by_picture": ("by picture", ".2f"), "edge_bleeding": ("bleeding at edges", ".2f"),
}  # fmt: skip
STRONG = (TITLES[ROUTED],)


def template_values(report: Report) -> dict[str, object]:
    """All values of the template besides the report itself."""
    share = {category.name: category.scores(ROUTED).delta_e_ratio.value for category in report.categories}
    ranked = sorted((name for name, value in share.items() if value is not None), key=lambda name: -(share[name] or 0))
    return {
        "verdict": verdict,
        "better": _categories_with_sign(report, -1),
        "worse": _categories_with_sign(report, 1),
        "failing": sorted(category.name for category in report.categories if category.routed_minus_gray.sign != -1),
        "ranked": [f"{name} ({share[name]:.2f})" for name in ranked],
        "headline": _headline(report),
        "all_scores": _all_scores(report),
        "differences": table(
            ["ΔE00", "difference (95% interval)"], [[difference_title(row), difference(row.delta_e)] for row in report.differences]
        ),
        "categories": _categories(report),
        "category_errors": _category_errors(report),
        "feature_tables": _feature_tables(report),
        "between_bundles": _between_bundles(report),
        "router_errors": _router_errors(report.router) if report.router else "",
        "other_routers": _other_routers(report),
        "classifiers": _classifiers(report),
        "judge_scores": _judge_scores(report.judge) if report.judge else "",
        "independence": _independence(report.judge) if report.judge else "",
        "distributions": _distributions(report),
        "robustness": _robustness(report),
    }  # fmt: skip


def verdict(estimate: Estimate, more: bool = False) -> str:
    """Whether a difference is an improvement: below 0, or above 0 if `more` is better."""
    return {0: "No difference.", 1: "Yes."}.get(estimate.sign if more else -estimate.sign, "No.")


def _categories_with_sign(report: Report, sign: int) -> list[str]:
    return sorted(category.name for category in report.categories if category.routed_minus_general.sign == sign)


def _headline(report: Report) -> str:
    rows = [
        [scores.method.title, "" if scores.method.name == "gray" else difference(scores.psnr_gain), interval(scores.delta_e),
         interval(scores.delta_e_ratio, ".3f"), interval(scores.colorfulness_ratio)]
        for scores in report.methods if not scores.method.bundle or scores.method.name == ROUTED
    ]  # fmt: skip
    return table(["method", "PSNR minus gray's, dB", "ΔE00", "ΔE00 / gray's", "colorfulness / truth's"], rows, STRONG)


def _all_scores(report: Report) -> str:
    def cells(scores: MethodScores) -> list[str]:
        return [number(getattr(scores, name).value, form) for name, (_, form) in SCORES.items()]

    rows = [[scores.method.title, *cells(scores)] for scores in report.methods]
    return table(["method", *(column for column, _ in SCORES.values())], rows, STRONG)


def _categories(report: Report) -> str:
    rows = []
    for category in report.categories:
        routed = category.scores(ROUTED)
        rows.append([
            category.name, str(category.pictures), number(routed.delta_e_ratio.value, ".3f"),
            difference(category.routed_minus_gray), difference(category.routed_minus_general),
            difference(category.routed_minus_oracle), difference(routed.psnr_gain), number(routed.colorfulness_ratio.value),
        ])  # fmt: skip
    columns = ["category", "pictures", "ΔE00 / gray's", "ΔE00 minus gray's", "minus general's", "minus oracle's",
               "PSNR minus gray's", "colorfulness / truth's"]  # fmt: skip
    return table(columns, rows)


def _category_errors(report: Report) -> str:
    methods = [scores.method for scores in report.categories[0].methods]
    rows = [[category.name, *(number(row.delta_e.value) for row in category.methods)] for category in report.categories]
    return table(["category", *(method.title for method in methods)], rows)


def _feature_tables(report: Report) -> list[str]:
    return [
        table(
            ["method", "distance"],
            [[row.method.title, f"{row.value:.3f}"] for row in sorted(distance.distances, key=lambda row: row.value)],
            STRONG,
        )
        for distance in report.feature_distances
    ]


def _between_bundles(report: Report) -> str:
    names = ["", *report.others]
    cells = {(row.method.bundle, row.baseline.bundle): difference(row.delta_e) for row in report.between_bundles}
    rows = [[name or "this bundle", *(cells.get((name, other), "") for other in names)] for name in names]
    return table(["bundle", *(name or "this bundle" for name in names)], rows, ("this bundle",))


def _router_errors(router: RouterResult) -> str:
    types = error_types(router.confusion.categories, router.confusion.counts)
    rows = []
    for name, (type1, type2) in types.items():
        own = router.errors.get(name)
        if own or type2:
            values = (own.top1, own.top3, type1) if own else (None, None, None)
            rows.append([name, *(number(value, ".1%") for value in (*values, type2 if len(router.errors) > 1 else None))])
    columns = [
        "category",
        "top-1 error",
        "top-3 error",
        "type 1: own pictures routed elsewhere",
        "type 2: other pictures routed here",
    ]
    return table(columns, rows)


def _other_routers(report: Report) -> str:
    rows = [
        [router.bundle, percent(router.top1), percent(router.top3), f"{router.calibration_error:.1%}"]
        for router in report.routers if router.bundle
    ]  # fmt: skip
    return table(["router of", "top-1", "top-3", "calibration error"], rows) if rows else ""


def _classifiers(report: Report) -> str:
    names = sorted({name for classifier in report.classifiers for name in classifier.by_category})
    rows = [[name, *(errors(classifier.by_category.get(name)) for classifier in report.classifiers)] for name in names]
    rows.append(["all", *(errors(classifier.errors) for classifier in report.classifiers)])
    return table(["category", *(f"{row.run} ({row.backbone})" for row in report.classifiers)], rows, ("all",))


def _judge_scores(judge: JudgeResult) -> str:
    rows = [
        [row.method.title, number(row.mean, ".3f"), number(row.median, ".3f"), number(row.sd, ".3f"),
         "" if row.best is None else str(row.best), f"{row.accuracy:.1%}",
         "" if row.method.name == "gray" else difference(row.gain, 100),
         "" if row.method.name == "gray" else difference(row.confidence_gain, 100)]
        for row in judge.methods
    ]  # fmt: skip
    columns = ["method", "mean", "median", "SD", "best", "accuracy", "minus gray's, points", "confidence minus gray's, points"]
    return table(columns, rows, STRONG)


def _independence(judge: JudgeResult) -> str:
    sentences = [f"It was trained on {', '.join(judge.trained_on) or 'unknown pictures'}"]
    if judge.known_pictures is None:
        sentences[0] += "; whether this dataset index contains any of these pictures is unknown."
    else:
        sentences[0] += f"; {judge.known_pictures:,} of the evaluated pictures were among its training pictures."
    for overlap in judge.overlaps:
        name = f"The bundle {overlap.bundle}" if overlap.bundle else "This bundle"
        if overlap.trained_on is None:
            sentences.append(f"What {name[0].lower()}{name[1:]} was trained on is unknown.")
            continue
        sets = f"{name} was trained on {', '.join(overlap.trained_on)}"
        if overlap.shared_with_judge is None:
            sentences.append(f"{sets}.")
        elif overlap.shared_with_judge:
            sentences.append(f"{sets}, of which it shares {overlap.shared_with_judge:,} pictures: the judge is not independent.")
        else:
            sentences.append(f"{sets}, and shares no picture with the judge.")
    return " ".join(sentences)


def _robustness(report: Report) -> str:
    rows = [
        [row.variation, interval(row.ab_error, ".3f"), interval(row.chroma_ratio), percent(row.top1), f"{row.fell_back:.1%}",
         number(row.confident_wrong, ".1%"), number(row.frame_chroma), number(row.blotched, ".1%")]
        for row in report.robustness
    ]  # fmt: skip
    columns = [
        "picture",
        "ab error / gray's",
        "chroma / truth's",
        "router top-1",
        "fell back",
        "of no category, and routed",
        "chroma of the border",
        "blotched",
    ]
    return table(columns, rows)


def _distributions(report: Report) -> str:
    names = list(report.distributions[0].by_category)
    rows = [[name, *(f"{row.by_category[name]:.3f}" for row in report.distributions)] for name in names]
    rows.append(["all", *(f"{row.divergence:.3f}" for row in report.distributions)])
    return table(["category", *(row.method.title for row in report.distributions)], rows, ("all",))
