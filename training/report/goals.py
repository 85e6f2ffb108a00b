"""The goals of the bundle `everyday` and what it reaches, as a Markdown table for the model card and the results.

The goals were set before the training, and all are listed, including those that are missed.
"""

from collections.abc import Iterator

from training.evaluation.results import JudgeResult, Report
from training.metrics.bootstrap import Estimate
from training.report.formatting import difference, interval, percent, table

Goal = tuple[str, str, str, bool]  # what, the goal, what was measured, whether it is reached

CATEGORY_SHARE = 0.8  # of the categories in which routing should be better


def goals_table(photographs: Report, unseen: Report, cifar: Report, no_category: Report) -> str:
    """The goals and what was measured, as Markdown.

    Args:
        photographs: the report on the test photographs of all categories, with a judge.
        unseen: on categories that were never trained on.
        cifar: on pictures of 32 px, with a judge that was trained on others of them only.
        no_category: on those of 32 px that belong to no category.
    """
    goals = [*_photograph_goals(photographs, cifar), *_fallback_goals(photographs, unseen, no_category)]
    rows = [[what, goal, measured, "yes" if reached else "**no**"] for what, goal, measured, reached in goals]
    return table(["what", "goal", "measured", "reached"], rows)


def _photograph_goals(report: Report, cifar: Report) -> Iterator[Goal]:
    router, routed = report.router, report.scores("routed")
    assert router is not None
    yield "router: top-1", "92%", percent(router.top1), _value(router.top1) >= 0.92
    yield "router: top-3", "98.5%", percent(router.top3), _value(router.top3) >= 0.985
    yield (
        "router: calibration error", "3% at most", f"{router.calibration_error:.1%}", router.calibration_error <= 0.03
    )  # fmt: skip
    gain, ratio, colorfulness = routed.psnr_gain, routed.delta_e_ratio, routed.colorfulness_ratio
    yield "PSNR minus gray's, dB", "+2.0", difference(gain), _value(gain) >= 2.0
    yield "ΔE00 over gray's", "0.78 at most", interval(ratio, ".3f"), _value(ratio) <= 0.78
    yield "colorfulness over the truth's", "0.80 to 1.10", interval(colorfulness), 0.8 <= _value(colorfulness) <= 1.1
    yield "ΔE00, routed minus the general expert", "below 0", *_below(report.difference("routed", "general"))
    by_category = [category.routed_minus_general for category in report.categories]
    better, beyond = sum(_value(row) < 0 for row in by_category), sum(row.sign == -1 for row in by_category)
    yield (
        "the same by category", f"below 0 in {CATEGORY_SHARE:.0%}",
        f"in {better} of {len(by_category)}, in {beyond} beyond the interval", better >= CATEGORY_SHARE * len(by_category),
    )  # fmt: skip
    for judge, note in ((report.judge, "it was trained on pictures of everyday"), (cifar.judge, "independent")):
        yield _judge_goal(judge, note)
    yield "ΔE00, soft minus hard, least certain 20%", "below 0", *_below(report.difference("soft", "routed", "least_certain"))


def _judge_goal(judge: JudgeResult | None, note: str) -> Goal:
    assert judge is not None
    gain = judge.scores("routed").gain
    what = f"a judge's accuracy, colorized minus gray: {judge.judge}; {note}"
    return what, "above 0", difference(gain, 100, " points"), gain.sign == 1


def _fallback_goals(report: Report, unseen: Report, no_category: Report) -> Iterator[Goal]:
    for own, pictures in ((report, "`general` photographs"), (no_category, "frogs and ships of 32 px")):
        what = f"ΔE00, fallback minus forced category, {pictures}"
        yield what, "below 0", *_below(own.difference("general", "forced", "no_category"))
    routed = unseen.scores("routed")
    gain, ratio, colorfulness = routed.psnr_gain, routed.delta_e_ratio, routed.colorfulness_ratio
    yield "unseen categories: PSNR minus gray's, dB", "0 or more", difference(gain), _value(gain) >= 0
    yield "unseen categories: ΔE00 over gray's", "1 at most", interval(ratio, ".3f"), _value(ratio) <= 1.0
    yield "unseen categories: colorfulness over the truth's", "0.35", interval(colorfulness), _value(colorfulness) >= 0.35


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def _below(estimate: Estimate) -> tuple[str, bool]:
    return difference(estimate), estimate.sign == -1
