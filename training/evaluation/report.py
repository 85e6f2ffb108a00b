"""The numbers of an evaluation as tables: for a terminal, and for the README."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from training.evaluation.evaluate import Evaluation
from training.evaluation.naming import error_types


def show(found: Evaluation, console: Console) -> None:
    """Print the whole, then every category."""
    router = ", ".join(f"{name} {value:.1%}" for name, value in found.router.items())
    console.print(f"{found.bundle} on {found.pictures} pictures; router: {router}")
    table = Table("way", "PSNR, dB", "minus grey's", "colourfulness / truth's", "ΔE00", "of grey's")
    for name, row in found.rows.items():
        cells = (f"{row['psnr']:.2f}", f"{row['psnr_gain']:+.2f}", f"{row['colourfulness']:.2f}")
        table.add_row(name, *cells, f"{row['delta_e']:.2f}", f"{row['delta_e_ratio']:.3f}")
    console.print(table)
    table = Table("category", "pictures", "top-1", "top-3", "PSNR gain", "colourfulness", "ΔE00 routed", "general")
    for name, row in found.categories.items():
        hits = (f"{row[k]:.1%}" if k in row else "" for k in ("top1", "top3"))
        scores = (f"{row['routed psnr_gain']:+.2f}", f"{row['routed colourfulness']:.2f}")
        deltas = (f"{row['routed delta_e']:.2f}", f"{row['general delta_e']:.2f}")
        table.add_row(name, f"{row['pictures']:.0f}", *hits, *scores, *deltas)
    console.print(table)
    table = Table("route", "type 1: own sent elsewhere", "type 2: others sent here")
    for name, errors in error_types(found.confusion["categories"], found.confusion["counts"]).items():
        table.add_row(name, f"{errors['type1']:.1%}", f"{errors['type2']:.1%}")
    console.print(table)


def markdown(numbers: Mapping[str, Any]) -> str:
    """The README's table, from the JSON that `evaluate --out` wrote."""
    lines = [
        f"| {numbers['pictures']:,} photographs in grey | PSNR minus grey's, dB | colourfulness / truth's | ΔE00 | ΔE00 / grey's |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in numbers["rows"].items():
        title = f"**{name}**" if name == "routed" else name
        scores = f"{row['psnr_gain']:+.2f} | {row['colourfulness']:.2f} | {row['delta_e']:.2f} | {row['delta_e_ratio']:.3f}"
        lines.append(f"| {title} | {scores} |")
    router = numbers["router"]
    lines += [
        "",
        f"Router: top-1 {router['top1']:.1%}, top-3 {router['top3']:.1%}, over {len(numbers['categories'])} classes; "
        f"{router['fell_back']:.1%} of the pictures fell back.",
    ]
    return "\n".join(lines)
