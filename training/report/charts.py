"""The charts of a report. Colors are those of Okabe and Ito, for color-blind readers; maps range from blue to red."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.evaluation.hint_scores import HintRow
from training.evaluation.results import ClassScores, Confusion, RouterResult
from training.figures import confusion_figure, figure_bytes, new_figure
from training.metrics.bootstrap import Estimate

BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def differences(title: str, estimates: Mapping[str, Estimate]) -> bytes:
    """Differences with their intervals in rows; those whose interval contains 0 are gray."""
    figure = new_figure(7.5, 1.3 + 0.27 * len(estimates))
    axes = figure.add_subplot()
    for row, estimate in enumerate(estimates.values()):
        if estimate.value is None or estimate.low is None:
            continue
        color = GRAY if not estimate.sign else BLUE if estimate.value < 0 else ORANGE
        axes.plot((estimate.low, estimate.high), (row, row), color=color, linewidth=2)
        axes.plot(estimate.value, row, marker="o", color=color)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set(title=f"{title} (lower is better; gray: no difference)")
    return figure_bytes(figure)


def confidence(router: RouterResult) -> bytes:
    """The reliability diagram, and coverage and accuracy over the threshold."""
    figure = new_figure(10, 4)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    bins = router.reliability
    left.plot((0, 1), (0, 1), color=GRAY, linestyle="--", label="perfect calibration")
    left.plot([bin_.confidence for bin_ in bins], [bin_.accuracy for bin_ in bins], marker="o", color=BLUE, label="router")
    for bin_ in bins:
        left.annotate(str(bin_.pictures), (bin_.confidence, bin_.accuracy), (4, -12), textcoords="offset points", fontsize=7)
    left.set(title=f"reliability; calibration error {router.calibration_error:.1%}", xlabel="confidence", ylabel="accuracy")
    points = router.coverage_accuracy
    thresholds = [point.threshold for point in points]
    right.plot(
        thresholds, [point.coverage for point in points], color=ORANGE, linestyle="--", label="coverage: share that is accepted"
    )
    right.plot(thresholds, [point.accuracy for point in points], color=BLUE, label="accuracy of the accepted ones")
    right.axvline(router.threshold, color="black", linewidth=0.8, label=f"threshold of the bundle, {router.threshold:.2f}")
    right.set(title="coverage and accuracy", xlabel="threshold")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure_bytes(figure)


def hints(rows: Sequence[HintRow]) -> bytes:
    """The gain in PSNR, and the error of ab, over the number of hints."""
    figure = new_figure(10, 4)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    counts = [row.hints for row in rows]
    _line(left, counts, [row.gain for row in rows], BLUE, "gain")
    _line(right, counts, [row.error for row in rows], BLUE, "all positions")
    _line(right, counts, [row.elsewhere for row in rows], ORANGE, "segments without a hint")
    left.set(title="PSNR, over that without hints", xlabel="points", ylabel="dB")
    right.set(title="error of ab, over that without hints", xlabel="points")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure_bytes(figure)


def _line(axes: Any, x: Sequence[int], estimates: Sequence[Estimate], color: str, label: str) -> None:
    axes.plot(x, [estimate.value for estimate in estimates], marker="o", color=color, label=label)
    axes.fill_between(
        x, [estimate.low for estimate in estimates], [estimate.high for estimate in estimates], color=color, alpha=0.2
    )


def confusion(matrix: Confusion) -> bytes:
    """The confusion matrix of routes."""
    return figure_bytes(confusion_figure(matrix.categories, matrix.counts, "routed to"))


def cross_category(table: Mapping[str, Mapping[str, float]], expert_of: Mapping[str, str]) -> bytes:
    """ΔE00 of each category (rows) by expert (columns), colored relative to the expert that `expert_of` names for the category."""
    experts = list(next(iter(table.values())))
    figure = new_figure(2.5 + 0.6 * len(experts), 1.8 + 0.32 * len(table))
    axes = figure.add_subplot()
    values = np.array([[row[expert] for expert in experts] for row in table.values()])
    base = np.array([row.get(expert_of.get(name, ""), np.nan) for name, row in table.items()])[:, None]
    relative = np.where(np.isfinite(base), values / base, 1.0)
    axes.imshow(relative, cmap="RdBu_r", vmin=0.5, vmax=1.5, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if abs(relative[row, column] - 1) < 0.35 else "white"
        weight = "bold" if expert_of.get(list(table)[row]) == experts[column] else "normal"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=8, fontweight=weight)
    axes.set_xticks(range(len(experts)), experts, rotation=90)
    axes.set_yticks(range(len(table)), list(table))
    axes.set(xlabel="expert", ylabel="pictures of")
    return figure_bytes(figure)


def judge_scores(classes: Sequence[ClassScores], names: Sequence[str]) -> bytes:
    """Box plots of the judge's scores by class, with a box of its own color for each of the methods `names`."""
    figure = new_figure(max(6.0, 1 + 0.28 * len(classes) * (len(names) + 1)), 4.2)
    axes = figure.add_subplot()
    for index, (name, color) in enumerate(zip(names, COLORS, strict=False)):
        positions = [group * (len(names) + 1) + index for group in range(len(classes))]
        scores = [row.scores[[str(method) for method in row.methods].index(name)] for row in classes]
        drawn = axes.boxplot(scores, positions=positions, widths=0.75, patch_artist=True,
                             flierprops={"markersize": 2}, medianprops={"color": "black"})  # fmt: skip
        for patch in drawn["boxes"]:
            patch.set_facecolor(color)
        axes.plot([], [], color=color, linewidth=6, label=name)
    middle = (len(names) - 1) / 2
    axes.set_xticks(
        [group * (len(names) + 1) + middle for group in range(len(classes))], [row.name for row in classes], rotation=90
    )  # fmt: skip
    axes.set(ylabel="probability of the true class", ylim=(-0.02, 1.02))
    axes.legend(fontsize=8, ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    return figure_bytes(figure)


def densities(true: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], extent: float) -> bytes:
    """The distribution over the ab plane for each category, true and, if there is any, predicted below; logarithmic."""
    rows, columns = (2 if predicted else 1), min(6, len(true))
    bands = -(-len(true) // columns)
    figure = new_figure(2.1 * columns, 2.3 * rows * bands)
    for place, (name, counts) in enumerate(true.items()):
        for row, histogram in enumerate((counts, predicted[name]) if predicted else (counts,)):
            axes = figure.add_subplot(rows * bands, columns, (place // columns * rows + row) * columns + place % columns + 1)
            side = round(len(histogram) ** 0.5)
            share = np.log10(np.maximum(histogram.reshape(side, side).T / histogram.sum(), 1e-5))
            axes.imshow(share, origin="lower", cmap="cividis", vmin=-5, vmax=-0.5, extent=(-extent, extent, -extent, extent))
            axes.axhline(0, color="white", linewidth=0.4)
            axes.axvline(0, color="white", linewidth=0.4)
            axes.set_title(name if row == 0 else "predicted", fontsize=9)
            axes.set(xticks=(), yticks=())
    figure.supxlabel("a: green to red", fontsize=8)
    figure.supylabel("b: blue to yellow", fontsize=8)
    return figure_bytes(figure)


def chroma(true: Sequence[float], predicted: Mapping[str, Sequence[float]], step: int) -> bytes:
    """The shares of all pixels by chroma in bins of `step` units, true and predicted by each method."""
    figure = new_figure(8, 4.4)
    axes = figure.add_subplot()
    for index, (name, shares) in enumerate({"truth": true, **predicted}.items()):
        axes.plot(
            [(bin_ + 0.5) * step for bin_ in range(len(shares))], shares, label=name, markersize=4,
            linestyle="-" if name in ("truth", "routed") else "--",
            color=("black", *COLORS)[index % (len(COLORS) + 1)], marker=".ox^sv+"[index % 7],
        )  # fmt: skip
    axes.set(xlabel="chroma, CIELAB units", ylabel="share of all pixels", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure_bytes(figure)
