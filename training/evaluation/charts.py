"""The plots of a report, from its numbers. Colors are Okabe and Ito's, for color-blind people; maps are blue to red."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.plots import confusion_figure, figure_bytes, new_figure

BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
MARKS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def differences(title: str, found: Mapping[str, Sequence[float]], better: str = "less is better") -> bytes:
    """Differences with their intervals, one under the other; those that cross 0 are gray. Each is value, low, high."""
    figure = new_figure(7.5, 1.3 + 0.27 * len(found))
    axes = figure.add_subplot()
    for place, (value, low, high) in enumerate(found.values()):
        if value is None or low is None:
            continue
        color = GRAY if low <= 0 <= high else BLUE if value < 0 else ORANGE
        axes.plot((low, high), (place, place), color=color, linewidth=2)
        axes.plot(value, place, marker="o", color=color)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set(title=f"{title} ({better}; gray: none)")
    return figure_bytes(figure)


def confidence(routing: Mapping[str, Any]) -> bytes:
    """Reliability beside coverage and accuracy over the threshold."""
    figure = new_figure(10, 4)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    bins = routing["reliability"]
    left.plot((0, 1), (0, 1), color=GRAY, linestyle="--", label="honest")
    left.plot([each["confidence"] for each in bins], [each["accuracy"] for each in bins], marker="o", color=BLUE, label="router")
    for each in bins:
        left.annotate(
            str(each["pictures"]), (each["confidence"], each["accuracy"]), (4, -12), textcoords="offset points", fontsize=7
        )
    left.set(
        title=f"reliability; calibration error {routing['calibration_error']:.1%}",
        xlabel="confidence",
        ylabel="share that is right",
    )
    curve = routing["coverage_accuracy"]
    steps = [each["threshold"] for each in curve]
    right.plot(steps, [each["coverage"] for each in curve], color=ORANGE, linestyle="--", label="coverage: share that reaches it")
    right.plot(steps, [each["accuracy"] for each in curve], color=BLUE, label="share of these that is right")
    right.axvline(routing["threshold"], color="black", linewidth=0.8, label=f"the bundle's, {routing['threshold']:.2f}")
    right.set(title="what a threshold buys", xlabel="threshold")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure_bytes(figure)


def confusion(found: dict[str, Any]) -> bytes:
    """Where the pictures of each category were sent."""
    return figure_bytes(confusion_figure(found, "sent to"))


def crossing(matrix: Mapping[str, Mapping[str, float]], own: Mapping[str, str]) -> bytes:
    """ΔE00 of each category (rows) under each expert (columns), on colors relative to the expert that `own` names for it."""
    experts = list(next(iter(matrix.values())))
    figure = new_figure(2.5 + 0.6 * len(experts), 1.8 + 0.32 * len(matrix))
    axes = figure.add_subplot()
    values = np.array([[row[expert] for expert in experts] for row in matrix.values()])
    base = np.array([row.get(own.get(name, ""), np.nan) for name, row in matrix.items()])[:, None]
    relative = np.where(np.isfinite(base), values / base, 1.0)
    axes.imshow(relative, cmap="RdBu_r", vmin=0.5, vmax=1.5, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if abs(relative[row, column] - 1) < 0.35 else "white"
        weight = "bold" if own.get(list(matrix)[row]) == experts[column] else "normal"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=8, fontweight=weight)
    axes.set_xticks(range(len(experts)), experts, rotation=90)
    axes.set_yticks(range(len(matrix)), list(matrix))
    axes.set(xlabel="painted by", ylabel="pictures of")
    return figure_bytes(figure)


def boxes(scores: Mapping[str, Mapping[str, Sequence[float]]], ways: Sequence[str]) -> bytes:
    """Box plots of the judge's scores: a group for each key, in it a box of its own color for each way."""
    figure = new_figure(max(6.0, 1 + 0.28 * len(scores) * (len(ways) + 1)), 4.2)
    axes = figure.add_subplot()
    for index, (way, color) in enumerate(zip(ways, MARKS, strict=False)):
        places = [place * (len(ways) + 1) + index for place in range(len(scores))]
        drawn = axes.boxplot([row[way] for row in scores.values()], positions=places, widths=0.75, patch_artist=True,
                             flierprops={"markersize": 2}, medianprops={"color": "black"})  # fmt: skip
        for patch in drawn["boxes"]:
            patch.set_facecolor(color)
        axes.plot([], [], color=color, linewidth=6, label=way)
    middle = (len(ways) - 1) / 2
    axes.set_xticks([place * (len(ways) + 1) + middle for place in range(len(scores))], list(scores), rotation=90)
    axes.set(ylabel="probability of the true class", ylim=(-0.02, 1.02))
    if len(ways) > 1:
        axes.legend(fontsize=8, ncols=len(ways), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    return figure_bytes(figure)


def densities(true: Mapping[str, np.ndarray], painted: Mapping[str, np.ndarray], extent: float) -> bytes:
    """The ab plane of each category: how many pixels lie where, true and, if there is any, painted below; logarithmic."""
    rows, columns = (2 if painted else 1), min(6, len(true))
    bands = -(-len(true) // columns)
    figure = new_figure(2.1 * columns, 2.3 * rows * bands)
    for place, (name, counts) in enumerate(true.items()):
        for row, each in enumerate((counts, painted.get(name)) if painted else (counts,)):
            axes = figure.add_subplot(rows * bands, columns, (place // columns * rows + row) * columns + place % columns + 1)
            side = round(len(each) ** 0.5)
            share = np.log10(np.maximum(each.reshape(side, side).T / each.sum(), 1e-5))
            axes.imshow(share, origin="lower", cmap="cividis", vmin=-5, vmax=-0.5, extent=(-extent, extent, -extent, extent))
            axes.axhline(0, color="white", linewidth=0.4)
            axes.axvline(0, color="white", linewidth=0.4)
            axes.set_title(name if row == 0 else "painted", fontsize=9)
            axes.set(xticks=(), yticks=())
    figure.supxlabel("a: green to red", fontsize=8)
    figure.supylabel("b: blue to yellow", fontsize=8)
    return figure_bytes(figure)


def chroma(found: Mapping[str, Mapping[str, Any]], step: int, painted: bool = True) -> bytes:
    """How much of the pictures has which chroma, true and painted."""
    figure = new_figure(8, 4.4)
    axes = figure.add_subplot()
    lines = {"truth": next(iter(found.values()))["true_chroma"], **{way: each["chroma"] for way, each in found.items() if painted}}
    for index, (way, shares) in enumerate(lines.items()):
        style = {"color": ("black", *MARKS)[index % (len(MARKS) + 1)], "marker": ".ox^sv+"[index % 7], "markersize": 4}
        axes.plot([(place + 0.5) * step for place in range(len(shares))], shares, label=way,
                  linestyle="-" if way in ("truth", "routed") else "--", **style)  # fmt: skip
    axes.set(xlabel="chroma, CIELAB units", ylabel="share of all pixels", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure_bytes(figure)
