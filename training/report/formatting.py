"""Formats estimates for people: values with confidence intervals, and differences that are "none" within their interval."""

from training.evaluation.results import Difference, TopErrors
from training.metrics.bootstrap import Estimate

UNDEFINED = "–"

DIFFERENCES = {
    ("routed", "gray", "all"): "routed against gray",
    ("routed", "general", "all"): "routed against the general expert alone",
    ("routed", "oracle", "all"): "cost of wrong routes: routed against the expert of the true category",
    ("routed", "best", "all"): "what the best choice of an expert for each picture would still gain",
    ("worst", "routed", "all"): "what the worst choice would lose",
    ("soft", "routed", "all"): "soft against hard routing",
    ("soft", "routed", "least_certain"): "soft against hard routing, on the 20% with the lowest confidence",
    ("general", "forced", "fell_back"): "the fallback against the most probable category, on the pictures that fell back",
    ("general", "forced", "no_category"): "the general expert against the most probable category, on the pictures of no category",
}


def difference(estimate: Estimate, scale: float = 1, unit: str = "") -> str:
    """A difference and its interval; "none" if the interval contains 0."""
    value, low, high = estimate
    if value is None:
        return UNDEFINED
    if low is None or high is None:
        return f"unknown for one picture ({scale * value:+.2f}{unit})"
    ends = f"({scale * low:+.2f} to {scale * high:+.2f})"
    return f"{scale * value:+.2f}{unit} {ends}" if estimate.sign else f"none {ends}"


def interval(estimate: Estimate, form: str = ".2f") -> str:
    """A value and its interval; a dash if it is undefined."""
    value, low, high = estimate
    if value is None:
        return UNDEFINED
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} ({low:{form}} to {high:{form}})"


def number(value: float | None, form: str = ".2f") -> str:
    """A value; a dash if it is undefined."""
    return UNDEFINED if value is None else f"{value:{form}}"


def percent(estimate: Estimate) -> str:
    """A share and its interval."""
    return interval(estimate, ".1%")


def errors(top: TopErrors | None) -> str:
    """Top-1 and top-3 error."""
    return "" if top is None else f"{top.top1:.3f} / {top.top3:.3f}"


def difference_title(row: Difference) -> str:
    """A description of a difference."""
    if not row.method.bundle:
        return DIFFERENCES[row.method.name, row.baseline.name, row.pictures]
    baseline = "its own general expert" if row.baseline.bundle else row.baseline.title
    return f"{row.method.title} against {baseline}"


def table(columns: list[str], rows: list[list[str]], strong: tuple[str, ...] = ()) -> str:
    """A Markdown table; rows whose first cell is in `strong` are bold."""
    cells = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in (columns, *rows)]
    head, *body = cells
    lines = [[f"**{cell}**" if row[0] in strong and cell else cell for cell in row] for row in body]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *lines))
