"""The report of an evaluation, out of its numbers: one page for a newcomer, then every table for a sceptic."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table as Shown

from models.atomic_files import replace_folder
from training.data.manifest import DataError
from training.evaluation import sections
from training.evaluation.document import Block, figures, html, markdown
from training.evaluation.front import front_page
from training.evaluation.intervals import SAMPLES
from training.evaluation.wording import TITLES, interval, number, titled

NUMBERS = "report.json"
FILES = {"report.html", "report.md", NUMBERS, "pictures.csv", "plots"}

Numbers = Mapping[str, Any]


def blocks(found: Numbers, samples: Sequence[tuple[str, Image.Image]]) -> list[Block]:
    """All of the report, from the values of `report.json`."""
    parts = (sections.color, sections.against, sections.routing, sections.semantic, sections.data, sections.method)
    return [*front_page(found, samples), *(block for section in parts for block in section(found))]


def check_folder(folder: Path) -> None:
    """Raise a DataError if a report would replace something that is none."""
    others = {path.name for path in folder.iterdir()} - FILES if folder.is_dir() else {folder.name} if folder.exists() else set()
    if others:
        raise DataError(
            f"{folder} has {min(others)} in it, which is no part of a report: choose a new or an empty folder with --out."
        )


def write_report(found: Numbers, samples: Sequence[tuple[str, Image.Image]], per_picture: str, folder: Path) -> None:
    """Write `report.html`, which stands alone, `report.md` with its `plots`, `report.json` and `pictures.csv`; all or nothing.

    Raises:
        DataError: the folder has something else in it.
    """
    check_folder(folder)
    whole = blocks(found, samples)
    texts = {
        "report.html": html(f"{found['bundle']}: evaluation", whole),
        "report.md": markdown(whole),
        NUMBERS: json.dumps(found, indent=1) + "\n",
        "pictures.csv": per_picture,
    }
    replace_folder(folder, {**{name: text.encode() for name, text in texts.items()}, **figures(whole)}, check=lambda _: None)


def made_with(command: str, device: str) -> dict[str, str]:
    """How a report was made, without naming the machine."""
    names = ("chromaroute", "torch", "scikit-image", "numpy")
    return {
        "command": command,
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
        "run on": torch.cuda.get_device_name() if device.startswith("cuda") else f"{os.cpu_count()} cores of {platform.machine()}",
        "intervals": f"95%, percentiles of {SAMPLES:,} bootstrap samples of the pictures, seed 0, the same samples for every way",
        "ab of another picture": "of a random permutation of these pictures, seed 0",
        "ΔE00": "scikit-image, held against the 34 pairs of Sharma, Wu and Dalal 2005 by a test",
    }


def show(found: Numbers, console: Console) -> None:
    """Print the ways, then every category."""
    table = Shown("way", "PSNR minus gray's, dB", "ΔE00", "of gray's", "colorfulness / truth's")
    for way, row in found["ways"].items():
        table.add_row(
            titled(way), interval(row["psnr_gain"], "+.2f"), interval(row["delta_e"]), interval(row["delta_e_ratio"], ".3f"),
            interval(row["colorfulness_ratio"]),
        )  # fmt: skip
    console.print(f"{found['bundle']} on {found['pictures']} pictures")
    console.print(table)
    table = Shown("category", "pictures", "ΔE00 routed", "general", "of gray's", "colorfulness")
    for name, row in found["categories"].items():
        routed, general = row["ways"]["routed"], row["ways"]["general"]
        scores = (routed["delta_e"], general["delta_e"], routed["delta_e_ratio"], routed["colorfulness_ratio"])
        table.add_row(name, str(row["pictures"]), *(number(each[0]) for each in scores))
    console.print(table)


def readme_table(found: Numbers) -> str:
    """The README's table, from the values of `report.json`."""
    lines = [
        f"| {found['pictures']:,} photographs in gray | PSNR minus gray's, dB | colorfulness / truth's | ΔE00 | ΔE00 / gray's |",
        "| --- | --- | --- | --- | --- |",
    ]
    for way in ("gray", "constant", "random", "general", "routed", "soft", "oracle"):
        row, title = found["ways"][way], f"**{TITLES[way]}**" if way == "routed" else TITLES[way]
        gain, vivid, error, ratio = (row[key][0] for key in ("psnr_gain", "colorfulness_ratio", "delta_e", "delta_e_ratio"))
        lines.append(f"| {title} | {gain:+.2f} | {vivid:.2f} | {error:.2f} | {ratio:.3f} |")
    router = found["routing"]["routed"]
    lines += [
        "",
        f"Router: top-1 {router['top1'][0]:.1%}, top-3 {router['top3'][0]:.1%}, over {len(found['categories'])} classes; "
        f"calibration error {router['calibration_error']:.1%}; {router['fell_back']:.1%} of the pictures fell back.",
    ]
    return "\n".join(lines)
