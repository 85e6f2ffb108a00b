"""What is asked of the bundle `everyday`, and what it reaches: a table for the README, the model card and the results.

The aims are fixed in advance, and none is left out: what is missed is told as missed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from training.evaluation.wording import Ends, difference, interval, percent, sign

Numbers = Mapping[str, Any]  # of a `report.json`
Aim = tuple[str, str, str, bool]  # what, how much of it is wanted, what was measured, whether that is enough

SHARE = 0.8  # of the categories that routing should be better in


def targets_table(photographs: Numbers, unseen: Numbers, cifar: Numbers, strangers: Numbers) -> str:
    """The aims and what was measured, as Markdown.

    Args:
        photographs: the report on the test photographs of all categories, with a judge.
        unseen: on kinds that were kept out of all training.
        cifar: on pictures of 32 px, with a judge that has learned from others of them alone.
        strangers: on those of 32 px that are of no category.
    """
    aims = [*_photographs(photographs, cifar), *_strangers(photographs, unseen, strangers)]
    rows = [f"| {what} | {wanted} | {measured} | {'yes' if reached else '**no**'} |" for what, wanted, measured, reached in aims]
    return "\n".join(["| what | wanted | measured | reached |", "| --- | --- | --- | --- |", *rows])


def _photographs(found: Numbers, cifar: Numbers) -> Iterator[Aim]:
    router, routed, differences = found["routing"]["routed"], found["ways"]["routed"], found["differences"]
    top1, top3, doubt = router["top1"], router["top3"], router["calibration_error"]
    yield "router: top-1", "92%", percent(top1), top1[0] >= 0.92
    yield "router: top-3", "98.5%", percent(top3), top3[0] >= 0.985
    yield "router: calibration error", "3% at most", f"{doubt:.1%}", doubt <= 0.03
    gain, ratio, vivid = (routed[key] for key in ("psnr_gain", "delta_e_ratio", "colorfulness_ratio"))
    yield "PSNR minus gray's, dB", "+2.0", difference(gain), gain[0] >= 2.0
    yield "ΔE00 over gray's", "0.78 at most", interval(ratio, ".3f"), ratio[0] <= 0.78
    yield "colorfulness over the truth's", "0.80 to 1.10", interval(vivid), 0.8 <= vivid[0] <= 1.1
    yield "ΔE00, routed minus the general expert", "below 0", *_below(differences["routed - general"])
    by_category = [row["routed - general"] for row in found["categories"].values()]
    better, surely = sum(each[0] < 0 for each in by_category), sum(sign(each) == -1 for each in by_category)
    yield (
        "the same by category", f"below 0 in {SHARE:.0%}",
        f"in {better} of {len(by_category)}, in {surely} beyond the interval", better >= SHARE * len(by_category),
    )  # fmt: skip
    for judged, note in ((found, "it knows pictures that everyday learned from"), (cifar, "independent")):
        judge, points = judged["semantic"]["judge"], judged["semantic"]["ways"]["routed"]["gain"]
        yield (
            f"a judge's accuracy, colorized minus gray: {judge}; {note}",
            "above 0",
            difference(points, 100, " points"),
            sign(points) == 1,
        )
    yield "ΔE00, soft minus hard, least certain 20%", "below 0", *_below(differences["least certain: soft - routed"])


def _strangers(found: Numbers, unseen: Numbers, strangers: Numbers) -> Iterator[Aim]:
    for told, where in ((found, "`general` photographs"), (strangers, "frogs and ships of 32 px")):
        yield (
            f"ΔE00, fallback minus forced category, {where}",
            "below 0",
            *_below(told["differences"]["no category: general - forced"]),
        )
    gain, ratio, vivid = (unseen["ways"]["routed"][key] for key in ("psnr_gain", "delta_e_ratio", "colorfulness_ratio"))
    yield "kinds never seen: PSNR minus gray's, dB", "0 or more", difference(gain), gain[0] >= 0
    yield "kinds never seen: ΔE00 over gray's", "1 at most", interval(ratio, ".3f"), ratio[0] <= 1.0
    yield "kinds never seen: colorfulness over the truth's", "0.35", interval(vivid), vivid[0] >= 0.35


def _below(each: Ends) -> tuple[str, bool]:
    return difference(each), sign(each) == -1
