"""The goals of the bundle `everyday` and what it reaches, and its errors on old prints, as Markdown tables for the documents.

The goals were set before the training, and all are listed, including those that are missed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from training.evaluation.results import JudgeResult, Report, RobustnessResult
from training.evaluation.robustness import BORDERED
from training.metrics.bootstrap import Estimate
from training.report.formatting import difference, interval, percent, table

Goal = tuple[str, str, str, bool]  # what, the goal, what was measured, whether it is reached

CATEGORY_SHARE = 0.8  # of the categories in which routing should be better
WORST = 1.06  # the error on the worst variation over that on the pictures as they are, at most
PLAIN = "as it is"
OLD_PRINTS = ("faded", "dark", "light", "high contrast", "soft", "grain", BORDERED)  # the variations that the goals are for


@dataclass(frozen=True)
class GoalReports:
    """The reports from which the goals are read.

    Attributes:
        photographs: on the test photographs of the categories, with a judge.
        wide: on photographs of people, rooms and streets from other sources.
        no_category: on those of them that belong to no category.
        heritage: on color photographs of about 1900 to 1945.
        unseen: on categories that were never trained on.
    """

    photographs: Report
    wide: Report
    no_category: Report
    heritage: Report
    unseen: Report


def goals_table(reports: GoalReports) -> str:
    """The goals and what was measured, as Markdown."""
    goals = [*_photograph_goals(reports.photographs), *_old_print_goals(reports), *_fallback_goals(reports)]
    rows = [[what, goal, measured, "yes" if reached else "**no**"] for what, goal, measured, reached in goals]
    return table(["what", "goal", "measured", "reached"], rows)


def old_prints_table(reports: GoalReports) -> str:
    """The ab errors, with chroma in parentheses, on the variations of all pictures with true colors, as Markdown."""
    columns = [_variations(report) for report in (reports.photographs, reports.wide, reports.heritage)]
    rows = []
    for name, row in columns[0].items():
        errors = [f"{_value(own[name].ab_error):.3f} ({_value(own[name].chroma_ratio):.2f})" for own in columns]
        rows.append([name, *errors, f"{_value(row.top1):.1%}"])
    return table(["variation", "photographs", "people, rooms, streets", "old color photographs", "router top-1: photographs"], rows)


def _photograph_goals(report: Report) -> Iterator[Goal]:
    router, routed = report.router, report.scores("routed")
    assert router is not None
    yield "router: top-1", "92%", percent(router.top1), _value(router.top1) >= 0.92
    yield (
        "router: calibration error", "3% at most", f"{router.calibration_error:.1%}", router.calibration_error <= 0.03
    )  # fmt: skip
    gain, ratio, colorfulness = routed.psnr_gain, routed.delta_e_ratio, routed.colorfulness_ratio
    yield "PSNR minus gray's, dB", "+2.6", difference(gain), _value(gain) >= 2.6
    yield "ΔE00 over gray's", "0.76 at most", interval(ratio, ".3f"), _value(ratio) <= 0.76
    yield "colorfulness over the truth's", "0.80 to 1.10", interval(colorfulness), 0.8 <= _value(colorfulness) <= 1.1
    yield "ΔE00, routed minus the general expert", "below 0", *_below(report.difference("routed", "general"))
    by_category = [category.routed_minus_general for category in report.categories]
    better, beyond = sum(_value(row) < 0 for row in by_category), sum(row.sign == -1 for row in by_category)
    yield (
        "the same by category", f"below 0 in {CATEGORY_SHARE:.0%}",
        f"in {better} of {len(by_category)}, in {beyond} beyond the interval", better >= CATEGORY_SHARE * len(by_category),
    )  # fmt: skip
    if report.judge is not None:
        yield _judge_goal(report.judge)
    yield "ΔE00, soft minus hard, least certain 20%", "below 0", *_below(report.difference("soft", "routed", "least_certain"))


def _judge_goal(judge: JudgeResult) -> Goal:
    gain = judge.scores("routed").gain
    what = f"a judge's accuracy, colorized minus gray: {judge.judge}; it was trained on pictures of everyday"
    return what, "above 0", difference(gain, 100, " points"), gain.sign == 1


def _old_print_goals(reports: GoalReports) -> Iterator[Goal]:
    photographs = _variations(reports.photographs)
    top1 = {name: _value(photographs[name].top1) for name in OLD_PRINTS}
    worst = min(top1, key=lambda name: top1[name])
    yield "router on old prints: top-1, worst variation", "88%", f"{top1[worst]:.1%} ({worst})", top1[worst] >= 0.88
    errors = {name: _value(photographs[name].ab_error) for name in (PLAIN, *OLD_PRINTS)}
    worst = max(OLD_PRINTS, key=lambda name: errors[name])
    yield (
        "ab error over gray's: worst variation", f"{WORST - 1:.0%} above that of the pictures as they are, at most",
        f"{errors[worst]:.3f} ({worst}) over {errors[PLAIN]:.3f}, {errors[worst] / errors[PLAIN] - 1:+.0%}",
        errors[worst] <= WORST * errors[PLAIN],
    )  # fmt: skip
    yield _frame_goal("photographs", photographs[BORDERED])
    wide, heritage = _variations(reports.wide), _variations(reports.heritage)
    yield _error_goal("people, rooms and streets", wide[PLAIN], 0.70, 0.65)
    what = "ΔE00, routed minus the general expert: people, rooms and streets"
    yield what, "below 0", *_below(reports.wide.difference("routed", "general"))
    yield _error_goal("old color photographs", heritage[PLAIN], 0.72, 0.6)
    yield _error_goal("old color photographs, faded", heritage["faded"], 0.78, 0.6)
    yield _error_goal("old color photographs, with a border", heritage[BORDERED], 0.78, 0.6)
    yield _frame_goal("old color photographs", heritage[BORDERED])


def _error_goal(pictures: str, row: RobustnessResult, error: float, chroma: float) -> Goal:
    return (
        f"ab error over gray's (chroma over the truth's): {pictures}",
        f"{error:.2f} at most ({chroma:.2f} or more)",
        f"{interval(row.ab_error, '.3f')} ({_value(row.chroma_ratio):.2f})",
        _value(row.ab_error) <= error and _value(row.chroma_ratio) >= chroma,
    )


def _frame_goal(pictures: str, row: RobustnessResult) -> Goal:
    assert row.frame_chroma is not None
    return f"mean chroma of an added neutral frame: {pictures}", "below 2", f"{row.frame_chroma:.2f}", row.frame_chroma < 2


def _fallback_goals(reports: GoalReports) -> Iterator[Goal]:
    (row,) = (row for row in reports.no_category.robustness if row.variation == PLAIN)
    assert row.confident_wrong is not None
    yield (
        "of no category (aircraft, boats, trains, objects), and not sent to the general expert", "8% at most",
        f"{row.confident_wrong:.0%}", row.confident_wrong <= 0.08,
    )  # fmt: skip
    yield (
        "ΔE00, fallback minus forced category, photographs that fell back", "not above 0",
        *_not_above(reports.photographs.difference("general", "forced", "fell_back")),
    )  # fmt: skip
    yield (
        "ΔE00, fallback minus forced category, `general` photographs", "below 0",
        *_below(reports.photographs.difference("general", "forced", "no_category")),
    )  # fmt: skip
    routed = reports.unseen.scores("routed")
    gain, colorfulness = routed.psnr_gain, routed.colorfulness_ratio
    yield "unseen categories: PSNR minus gray's, dB", "+1.3", difference(gain), _value(gain) >= 1.3
    yield "unseen categories: colorfulness over the truth's", "0.60", interval(colorfulness), _value(colorfulness) >= 0.6


def _variations(report: Report) -> dict[str, RobustnessResult]:
    return {row.variation: row for row in report.robustness}


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def _below(estimate: Estimate) -> tuple[str, bool]:
    return difference(estimate), estimate.sign == -1


def _not_above(estimate: Estimate) -> tuple[str, bool]:
    return difference(estimate), estimate.sign != 1
