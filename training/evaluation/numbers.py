"""Everything that an evaluation says, as plain values: `report.json`. Intervals are `[value, low, high]`."""

import csv
import io
from typing import Any

import numpy as np

from training.evaluation.evaluate import Evaluation, plain
from training.evaluation.intervals import Interval
from training.evaluation.table import METRICS, Scored


def numbers(found: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation; what is not a number is None."""
    scored = found.scored
    return {
        "bundle": found.bundle,
        "rivals": dict(found.rivals),
        "data": found.data,
        "sets": dict(found.sets),
        "pictures": len(scored),
        "ways": {way: plain(scored.row(way)) for way in scored.ways},
        "differences": {name: plain(value) for name, value in _differences(found).items()},
        "against": _against(found),
        "categories": {name: _category(found, own) for name, own in scored.by_category()},
        "painters": dict(found.painters),
        "crossing": plain(found.crossing),
        "routing": plain(found.routing),
        "distribution": plain(found.distances),
        "frechet": plain(found.frechet),
        "perceptual": plain(found.perceptual),
        "semantic": plain(found.semantic),
    }


def _differences(found: Evaluation) -> dict[str, Interval]:
    """Differences in mean ΔE00, named by what is subtracted from what."""
    scored = found.scored
    pairs = [
        ("routed", "gray"),
        ("routed", "general"),
        ("routed", "oracle"),
        ("routed", "best"),
        ("worst", "routed"),
        ("soft", "routed"),
    ]
    differences = {f"{way} - {other}": scored.difference(way, other) for way, other in pairs}
    for prefix in found.rivals:
        for other in ("gray", "general"):
            against = other if other == "gray" else prefix + other
            differences[f"{prefix}routed - {other}"] = scored.difference(f"{prefix}routed", against)
    for name, chosen, way, other in (
        ("least certain", found.least_certain, "soft", "routed"),
        ("fell back", found.fell_back, "general", "forced"),
        ("no category", found.no_category, "general", "forced"),
    ):
        if chosen.any():
            differences[f"{name}: {way} - {other}"] = scored.pick(chosen).difference(way, other)
    return differences


def _against(found: Evaluation) -> dict[str, dict[str, Any]]:
    """The differences in mean ΔE00 of every two bundles as they route: the outer one minus the inner one."""
    ways = ["routed", *(f"{prefix}routed" for prefix in found.rivals)] if found.rivals else []
    return {way: {other: plain(found.scored.difference(way, other)) for other in ways if other != way} for way in ways}


def _category(found: Evaluation, own: Scored) -> dict[str, Any]:
    return {
        "pictures": len(own),
        "ways": {way: plain(own.row(way)) for way in own.ways if ": " not in way or way.endswith(": routed")},
        "routed - general": plain(own.difference("routed", "general")),
        "routed - gray": plain(own.difference("routed", "gray")),
        "routed - oracle": plain(own.difference("routed", "oracle")),
    }


def per_picture(found: Evaluation) -> str:
    """Every score of every picture, as CSV: a row for each picture and way."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("picture", "category", "way", *METRICS))
    for index, name in enumerate(found.names):
        for way, values in found.scored.values.items():
            cells = (values[metric][index] for metric in METRICS)
            rows.writerow((name, found.scored.categories[index], way, *("" if np.isnan(each) else f"{each:.4f}" for each in cells)))
    return text.getvalue()
