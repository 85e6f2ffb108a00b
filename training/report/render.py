"""Renders a report: Markdown and HTML from one Jinja2 template, with charts; and tables for the terminal."""

import base64
import os
import platform
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from models.atomic_files import replace_folder
from training.data.dataset_index import DataError
from training.evaluation.method import ROUTED, TITLES
from training.evaluation.results import Report
from training.metrics.bootstrap import SAMPLES
from training.metrics.distribution import CHROMA_STEP
from training.report import charts, formatting
from training.report.formatting import interval, number
from training.report.sections import template_values

RESULTS = "report.json"
PICTURES = "pictures.csv"
FILES = {"report.html", "report.md", RESULTS, PICTURES, "plots"}


def check_folder(folder: Path) -> None:
    """Raise a DataError if a report would replace other files."""
    others = {path.name for path in folder.iterdir()} - FILES if folder.is_dir() else {folder.name} if folder.exists() else set()
    if others:
        raise DataError(
            f"{folder} contains {min(others)}, which is not part of a report: choose a new or an empty folder with --out."
        )


def write_report(report: Report, strips: Mapping[str, bytes], folder: Path, pictures_csv: str | None = None) -> None:
    """Write `report.html`, which needs no other file, `report.md` with its `plots`, `report.json` and `pictures.csv`, atomically.

    Args:
        report: the results.
        strips: a JPEG for each of its samples, by name.
        folder: of the report, which is replaced.
        pictures_csv: the scores of all pictures; None to write none.

    Raises:
        DataError: the folder contains other files.
    """
    check_folder(folder)
    report = report.rounded()  # as it is stored, so that rendering it again gives the same pages
    markdown = render_markdown(report)
    plots = {**render_charts(report), **{_strip_path(name): content for name, content in strips.items()}}
    texts = {"report.md": markdown, "report.html": render_html(report.bundle, markdown, plots), RESULTS: report.to_json()}
    if pictures_csv is not None:
        texts[PICTURES] = pictures_csv
    files = {name: text.encode() for name, text in texts.items()}
    replace_folder(folder, {**files, **plots}, check=lambda _: None)


def render_again(folder: Path) -> None:
    """Write the report in `folder` again from its results; its samples and the scores of its pictures are kept.

    Raises:
        DataError: the folder contains no report, or other files.
        OSError: a sample is missing.
    """
    report = read_report(folder / RESULTS)
    strips = {sample.name: (folder / _strip_path(sample.name)).read_bytes() for sample in report.samples}
    pictures = folder / PICTURES
    write_report(report, strips, folder, pictures.read_text() if pictures.is_file() else None)


def read_report(path: Path) -> Report:
    """The results in a `report.json`.

    Raises:
        DataError: there is no such file, or it is not a report.
    """
    try:
        return Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is not the report of an evaluation: {error}.") from error


def render_markdown(report: Report) -> str:
    """The report as Markdown; its charts are files beside it."""
    environment = Environment(
        loader=PackageLoader("training", "report/templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {name: getattr(formatting, name) for name in ("difference", "interval", "number", "percent", "errors")}
    text = environment.get_template("report.md.j2").render(report=report, **template_values(report))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_charts(report: Report) -> dict[str, bytes]:
    """The charts of the report, by their paths beside the Markdown."""
    routed = {str(row.method): row.chroma for row in report.distributions if row.method.name == ROUTED}
    by_category = {category.name: category.routed_minus_general for category in report.categories}
    expert_of = {name: expert for name, expert in report.experts.items() if name in report.cross_category}
    plots = {
        "routing-gain": charts.differences("ΔE00, routed minus the general expert alone", by_category),
        "cross-category": charts.cross_category(report.cross_category, expert_of),
        "chroma": charts.chroma(report.distributions[0].true_chroma, routed, CHROMA_STEP),
    }
    if report.router is not None:
        plots |= {"confidence": charts.confidence(report.router), "confusion": charts.confusion(report.router.confusion)}
    if report.judge is not None:
        plots["judge"] = charts.judge_scores(report.judge.by_class, ("gray", "routed", "truth"))
    return {f"plots/{name}.png": content for name, content in plots.items()}


def render_html(title: str, markdown: str, plots: Mapping[str, bytes]) -> str:
    """The Markdown as one HTML file that contains style and pictures, without scripts."""
    style = (resources.files("training") / "report" / "templates" / "report.css").read_text()
    body: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    for path, content in plots.items():
        media = "image/png" if path.endswith(".png") else "image/jpeg"
        body = body.replace(f'src="{path}"', f'src="data:{media};base64,{base64.b64encode(content).decode()}"')
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: evaluation</title>\n<style>\n{style}</style>"
    )
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}</body>\n</html>\n'


def made_with(command: str, device: str) -> dict[str, str]:
    """How a report was made, without the name of the machine."""
    packages = ("chromaroute", "torch", "scikit-image", "numpy")
    return {
        "command": command,
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "hardware": torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"{os.cpu_count()} cores of {platform.machine()}",
        "intervals": f"95%, percentiles of {SAMPLES:,} bootstrap samples of the pictures, seed 0, the same samples for all methods",
        "ab of another picture": "of a random permutation of these pictures, seed 0",
        "ΔE00": "scikit-image, compared in a test with the 34 pairs of Sharma, Wu and Dalal 2005",
    }


def print_report(report: Report, console: Console) -> None:
    """Print the scores of all methods, then of all categories."""
    table = Table("method", "PSNR minus gray's, dB", "ΔE00", "ΔE00 / gray's", "colorfulness / truth's")
    for scores in report.methods:
        table.add_row(
            scores.method.title, interval(scores.psnr_gain, "+.2f"), interval(scores.delta_e),
            interval(scores.delta_e_ratio, ".3f"), interval(scores.colorfulness_ratio),
        )  # fmt: skip
    console.print(f"{report.bundle} on {report.pictures} pictures")
    console.print(table)
    table = Table("category", "pictures", "ΔE00 routed", "general", "ΔE00 / gray's", "colorfulness / truth's")
    for category in report.categories:
        routed, general = category.scores("routed"), category.scores("general")
        estimates = (routed.delta_e, general.delta_e, routed.delta_e_ratio, routed.colorfulness_ratio)
        table.add_row(category.name, str(category.pictures), *(number(estimate.value) for estimate in estimates))
    console.print(table)


def readme_table(report: Report) -> str:
    """The table of the README: a few methods without intervals."""
    rows = []
    for name in ("gray", "general", "routed", "oracle"):
        scores = report.scores(name)
        values = (scores.psnr_gain, scores.colorfulness_ratio, scores.delta_e, scores.delta_e_ratio)
        rows.append(
            [TITLES[name], *(number(each.value, form) for each, form in zip(values, ("+.2f", ".2f", ".2f", ".3f"), strict=True))]
        )
    columns = [f"{report.pictures:,} photographs", "PSNR minus gray's, dB", "colorfulness / truth's", "ΔE00", "ΔE00 / gray's"]
    return formatting.table(columns, rows, (TITLES["routed"],))


def _strip_path(name: str) -> str:
    return f"plots/sample-{name}.jpeg"
