"""The sections of a report behind its first page, for a sceptic: every table."""

from collections.abc import Iterator, Mapping
from typing import Any

from training.evaluation import charts
from training.evaluation.distribution import CHROMA_STEP
from training.evaluation.document import Block, Figure, Heading, Points, Table, Text
from training.evaluation.naming import error_types
from training.evaluation.wording import TITLES, difference, errors, named, number, percent, titled

Numbers = Mapping[str, Any]

SCORES = {
    "psnr": "PSNR, dB", "ssim": "SSIM", "ab_mae": "ab error", "ab_auc": "area under its curve", "colorfulness": "colorfulness",
    "colorfulness_of_means": "its distance: of means", "colorfulness_by_picture": "by picture",
    "edge_bleeding": "bleeding at edges",
}  # fmt: skip


def color(found: Numbers) -> Iterator[Block]:
    """Every score of every way, then by category."""
    yield Heading("Color")
    yield Table(
        ("way", *SCORES.values()), [(titled(way), *_scores(row)) for way, row in found["ways"].items()], (TITLES["routed"],)
    )
    yield Text(
        "PSNR, SSIM and ab error (mean absolute, CIELAB units) reward timid colors; gray beats most colorizers in them. "
        "Distances of colorfulness are published in two ways, as the distance of means and as the mean of distances. Bleeding is "
        "the share of the painted contrast across color edges that is missing within a pixel of them. Oracle, worst and best "
        "know the truth: they are bounds, not rivals."
    )
    rows = [(named(name), difference(each)) for name, each in found["differences"].items()]
    yield Table(("ΔE00", "difference (95% interval)"), rows)
    yield from _categories(found["categories"])
    for each in (*found["frechet"].values(), *((found["perceptual"],) if found["perceptual"] else ())):
        rows = [(titled(way), f"{value:.3f}") for way, value in sorted(each["ways"].items(), key=lambda item: item[1])]
        yield Text(
            f"{each['name']}, between what was painted and the truth. Less is better; it can be compared with itself alone, on the "
            "same pictures, and has no interval:"
        )
        yield Table(("way", "distance"), rows, (TITLES["routed"],))


def _scores(row: Numbers) -> list[str]:
    return [number(row[key][0], ".3f" if key in ("ssim", "ab_auc") else ".2f") for key in SCORES]


def _categories(categories: Numbers) -> Iterator[Block]:
    rows = [
        (name, str(row["pictures"]), number(row["ways"]["routed"]["delta_e_ratio"][0], ".3f"), difference(row["routed - gray"]),
         difference(row["routed - general"]), difference(row["routed - oracle"]), difference(row["ways"]["routed"]["psnr_gain"]),
         number(row["ways"]["routed"]["colorfulness_ratio"][0]))
        for name, row in categories.items()
    ]  # fmt: skip
    columns = ("category", "pictures", "ΔE00 / gray's", "ΔE00 minus gray's", "minus general's", "minus oracle's",
               "PSNR minus gray's", "colorfulness / truth's")  # fmt: skip
    yield Text("By category, routed:")
    yield Table(columns, rows)
    ways = list(next(iter(categories.values()))["ways"])
    yield Text("By category, mean ΔE00 of every way:")
    rows = [(name, *(number(row["ways"][way]["delta_e"][0]) for way in ways)) for name, row in categories.items()]
    yield Table(("category", *map(titled, ways)), rows)
    yield Figure(
        "routing-pays",
        charts.differences(
            "ΔE00, routed minus the general expert alone", {name: row["routed - general"] for name, row in categories.items()}
        ),
        "Does routing pay? ΔE00 of routed minus the general expert alone, by category, with 95% intervals. Gray: no difference.",
    )


def against(found: Numbers) -> Iterator[Block]:
    """The judged bundle and its rivals, every two of them."""
    if not found["against"]:
        return
    yield Heading("Against other bundles")
    yield Text("ΔE00 of the bundle of the row minus that of the column, each as it routes by itself; below 0 the row is closer.")
    names = {way: way.removesuffix("routed").removesuffix(": ") or "this bundle" for way in found["against"]}
    rows = [
        (names[way], *("" if other == way else difference(row[other]) for other in names)) for way, row in found["against"].items()
    ]
    yield Table(("bundle", *names.values()), rows, ("this bundle",))
    yield Points([f"{prefix.removesuffix(': ')} is {label}." for prefix, label in found["rivals"].items()])


def routing(found: Numbers) -> Iterator[Block]:
    """Who was sent where, how honest the confidence is, what a threshold buys, what a wrong route costs."""
    yield Heading("Routing")
    if "routed" in found["routing"]:
        yield from _router(found["routing"]["routed"])
    else:
        yield Text("None of the pictures is of a category of the bundle, so that nothing can be said of its router.")
    if others := {way: each for way, each in found["routing"].items() if ": " in way}:
        rows = [
            (titled(way), percent(each["top1"]), percent(each["top3"]), f"{each['calibration_error']:.1%}")
            for way, each in others.items()
        ]
        yield Table(("router of", "top-1", "top-3", "calibration error"), rows)
    if namers := found["namers"]:
        yield Text("Top-1 / top-3 error of the backbones that were trained as routers, by category (paper 003, table I):")
        names = sorted({name for each in namers.values() for name in each["by_category"]})
        rows = [(name, *(errors(each["by_category"].get(name)) for each in namers.values())) for name in names]
        rows.append(("all", *map(errors, namers.values())))
        yield Table(("category", *(f"{run} ({each['backbone']})" for run, each in namers.items())), rows, ("all",))
    own = {name: expert for name, expert in found["painters"].items() if name in found["crossing"]}
    yield Figure(
        "crossing",
        charts.crossing(found["crossing"], own),
        "ΔE00 of the pictures of each category (rows) under each expert (columns); in bold the one that the category is painted "
        "by, blue better than that one, red worse (paper 003, figure 9, as numbers).",
    )


def _router(router: Numbers) -> Iterator[Block]:
    wanted = router["threshold_for_risk"]
    reached = "no threshold reaches that" if wanted is None else f"that takes one of {wanted:.2f}"
    yield Text(
        f"Of {router['pictures']:,} pictures of categories that the bundle has, {percent(router['top1'])} are named rightly, and "
        f"{percent(router['top3'])} have the right name among the first three. The bundle's threshold is "
        f"{router['threshold']:.2f}. Should at most {router['wanted_risk']:.0%} of those that are sent to a category be sent "
        f"wrongly, on these pictures {reached}."
    )
    yield Figure(
        "confidence",
        charts.confidence(router),
        "Left: is the confidence honest? On the diagonal it is; the numbers are pictures. Right: what a threshold buys. What is "
        "taken for none of the categories is never sent to one.",
    )
    yield Figure(
        "confusion",
        charts.confusion(router["confusion"]),
        "Pictures of each category (rows) by where the threshold rule sent them (columns).",
    )
    types = error_types(router["confusion"]["categories"], router["confusion"]["counts"])
    own = router["errors"]
    rows = []
    for name, each in types.items():
        if name in own or each["type2"]:
            shares = (own[name]["top1_error"], own[name]["top3_error"], each["type1"]) if name in own else (None,) * 3
            rows.append((name, *(number(share, ".1%") for share in (*shares, each["type2"] if len(own) > 1 else None))))
    yield Table(("category", "top-1 error", "top-3 error", "type 1: own sent elsewhere", "type 2: others sent here"), rows)


def semantic(found: Numbers) -> Iterator[Block]:
    """The judge's table, box plots, and what it is worth."""
    judged = found["semantic"]
    if not judged:
        return
    yield Heading("Semantic score")
    yield Text(
        f"{judged['judge']} looks at {judged['pictures']:,} pictures ({judged['skipped']:,} others are of classes that it does not "
        "know) and gives the probability of the true class (paper 004, 2.5.2). Best: how often a way has the highest of gray, "
        "general and all "
        "routed ones; those that are level, as routed and general often are, all count. " + _independence(judged)
    )
    rows = [
        (titled(way), number(row["mean"], ".3f"), number(row["median"], ".3f"), number(row["sd"], ".3f"), str(row.get("best", "")),
         f"{row['accuracy']:.1%}", "" if way == "gray" else difference(row["gain"], 100),
         "" if way == "gray" else difference(row["confidence_gain"], 100))
        for way, row in judged["ways"].items()
    ]  # fmt: skip
    columns = ("way", "mean", "median", "SD", "best", "accuracy", "minus gray's, points", "confidence minus gray's, points")
    yield Table(columns, rows, (TITLES["routed"],))
    yield Text(
        "The last column is paper 002's question, whether color makes the classifier surer of the truth. T = 1 is the plain mean "
        "of the predicted colors, T = 0.38 Zhang et al.'s annealed mean, both without the bundle's muting and saturation."
    )
    ways = ["gray", "routed", *(way for way in judged["ways"] if way.endswith(": routed")), "truth"]
    whole = {titled(way): {"": [score for row in judged["by_class"].values() for score in row[way]]} for way in ways}
    caption = "The box holds the middle half of the pictures, its line is the median."
    yield Figure("semantic", charts.boxes(whole, ("",)), f"The judge's scores of all pictures. {caption}")
    shown = ("gray", "routed", "truth")
    yield Figure("semantic-by-class", charts.boxes(judged["by_class"], shown), f"The judge's scores by class. {caption}")


def _independence(judged: Numbers) -> str:
    told = [f"It learned from the colors of {', '.join(judged['judge_sets']) or 'pictures that are not told'}"]
    if judged["pictures_that_the_judge_knows"] is None:
        told = [f"{told[0]}; whether this manifest has any of these pictures is not known."]
    else:
        told = [f"{told[0]}; {judged['pictures_that_the_judge_knows']:,} of the pictures here were among them."]
    for way, each in judged["painters"].items():
        shared = each["shared_with_judge"]
        if each["trained_on"] is None:
            told.append(f"What {titled(way)} learned from is not known from this manifest.")
        elif shared is None:
            told.append(f"{titled(way)} learned from {', '.join(each['trained_on'])}.")
        else:
            verdict = f"{shared:,} pictures in common, so that the judge is not independent" if shared else "no picture in common"
            told.append(f"{titled(way)} learned from {', '.join(each['trained_on'])}: {verdict}.")
    return " ".join(told)


def data(found: Numbers) -> Iterator[Block]:
    """How far the painted colors are from the true ones as distributions."""
    distribution = found["distribution"]
    yield Heading("Distribution of colors")
    yield Text(
        "The Jensen-Shannon divergence between the ab that was painted and the true one, over cells of 10 units: 0 for equal "
        "distributions, 1 for such as share nothing (paper 000 looks at the colors of its data to explain those of its networks)."
    )
    names = list(next(iter(distribution.values()))["by_category"])
    rows = [(name, *(f"{each['by_category'][name]:.3f}" for each in distribution.values())) for name in names]
    rows.append(("all", *(f"{each['all']:.3f}" for each in distribution.values())))
    yield Table(("category", *map(titled, distribution)), rows, ("all",))
    shown = {way: each for way, each in distribution.items() if way.endswith("routed")}
    yield Figure(
        "chroma",
        charts.chroma(shown, CHROMA_STEP),
        "How large a share of all pixels has which chroma, in truth and as painted (logarithmic).",
    )


def method(found: Numbers) -> Iterator[Block]:
    """How it was measured."""
    yield Heading("How it was measured")
    yield Points([f"{name}: {value}" for name, value in found["made"].items()])
