"""The report of an evaluation: its files, rendering it again, its edge cases, and what is refused."""

import csv
import hashlib
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle_header import EVERYDAY
from models.errors import CheckpointError
from tests.cli_runner import invoke
from training.cli.bundles import _command
from training.data.dataset_index import DataError, read_index, write_index
from training.report.formatting import table
from training.report.render import read_report, render_html

pytestmark = pytest.mark.slow


def read_files(folder: Path) -> dict[str, bytes]:
    """The contents of all files in a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_report_is_complete_and_needs_no_other_file(report_folder: Path) -> None:
    page = (report_folder / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    text = (report_folder / "report.md").read_text()
    for path in re.findall(r"\]\((plots/[^)]+)\)", text):
        with Image.open(report_folder / path) as image:
            image.verify()
    report = read_report(report_folder / "report.json")
    assert report.pictures == 16
    (classifier,) = report.classifiers
    assert (classifier.run, classifier.backbone) == ("li-classifier", "zhang")
    assert str(report_folder.parent) not in page + text + (report_folder / "report.json").read_text()
    for heading in (
        "# everyday@",
        "## Colors",
        "## Comparison with other bundles",
        "## Routing",
        "## Semantic scores",
        "## Distribution of colors",
        "## Method",
    ):
        assert heading in text


def test_csv_lists_the_scores_of_every_picture_and_method(report_folder: Path) -> None:
    report = read_report(report_folder / "report.json")
    rows = list(csv.DictReader(io.StringIO((report_folder / "pictures.csv").read_text())))
    assert {row["method"] for row in rows} == {*(str(scores.method) for scores in report.methods), "truth"}
    assert len(rows) == 16 * len({row["method"] for row in rows})
    mean = np.mean([float(row["delta_e"]) for row in rows if row["method"] == "routed"])
    assert mean == pytest.approx(report.scores("routed").delta_e.value, abs=1e-3)


def test_render_reproduces_the_report_byte_for_byte(report_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report_folder, folder)
    for name in ("report.md", "report.html"):
        (folder / name).write_text("outdated")
    for path in (folder / "plots").glob("*.png"):
        path.unlink()
    assert "report.html" in invoke("render", folder)
    assert read_files(folder) == read_files(report_folder)


def test_render_without_scores_of_pictures_writes_none(report_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report_folder, folder)
    (folder / "pictures.csv").unlink()
    invoke("render", folder)
    assert {**read_files(folder), "pictures.csv": b""} == {**read_files(report_folder), "pictures.csv": b""}


def test_render_refuses_a_folder_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not the report of an evaluation"):
        invoke("render", tmp_path)
    (tmp_path / "report.json").write_text('{"bundle": "everyday"}')
    with pytest.raises(DataError, match="is not the report of an evaluation"):
        invoke("render", tmp_path)


def test_report_replaces_a_report_but_no_other_files(report_folder: Path, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("letters")
    with pytest.raises(DataError, match=r"contains precious\.txt, which is not part of a report"):
        invoke("evaluate", EVERYDAY, "--data", manifest, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    folder, pictures = tmp_path / "report", tmp_path / "mine"
    shutil.copytree(report_folder, folder)
    pictures.mkdir()
    Image.fromarray(np.full((40, 30, 3), (90, 60, 200), np.uint8)).save(pictures / "door.png")
    invoke("evaluate", EVERYDAY, "--data", manifest, "--limit", 4, "--out", folder, "--pictures", pictures)
    assert [path.name for path in (folder / "plots").glob("sample-*")] == ["sample-door.jpeg"]
    assert not (folder / "plots" / "judge.png").exists()


def test_categories_that_the_bundle_lacks_are_evaluated_for_colors_only(manifest: Path, tmp_path: Path) -> None:
    names = {"cat": "ship", "food": "frog"}
    entries = [replace(entry, category=names.get(entry.category, entry.category)) for entry in read_index(manifest)]
    write_index(entries, tmp_path / "manifest.csv")
    options = ("--data", tmp_path / "manifest.csv", "--limit", 3, "--out", tmp_path / "report")
    invoke("evaluate", EVERYDAY, "--category", "ship", *options)
    report = read_report(tmp_path / "report" / "report.json")
    assert report.routers == []
    assert "its router cannot be evaluated" in (tmp_path / "report" / "report.md").read_text()
    assert report.difference("routed", "oracle").value is not None
    assert report.difference("general", "forced", "no_category").value is not None
    assert [category.name for category in report.categories] == ["ship"]
    with pytest.raises(DataError, match="has no category cat; it has flower, frog, general, .*ship"):
        invoke("evaluate", EVERYDAY, "--category", "cat", *options)


def test_unusable_options_are_refused_before_any_picture_is_evaluated(
    judge: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.evaluate.evaluate_image", None)
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    entries = [replace(entry, category="ship") for entry in read_index(manifest) if entry.split == "test"]
    write_index(entries, tmp_path / "ships.csv")
    for options, error, message in (
        (("--judge", tmp_path), CheckpointError, "train the recipe that makes it first"),
        (("--judge", f"resnet18={tmp_path / 'weights.pth'}"), CheckpointError, "cannot be used"),
        (("--judge", "palette=weights.pth"), CheckpointError, "give a classifier of torchvision"),
        (("--judge", judge, "--data", tmp_path / "ships.csv"), DataError, "none of the pictures is of these"),
        (("--classifier", judge), CheckpointError, "is not a classifier of gray pictures"),
        (("--pictures", tmp_path), DataError, "has no pictures to show"),
        (("--against", EVERYDAY), DataError, "given twice"),
    ):
        with pytest.raises(error, match=message):
            invoke("evaluate", EVERYDAY, "--data", manifest, "--out", tmp_path / "report", *options)


def test_command_line_in_the_report_has_no_absolute_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", "evaluate", "/home/me/bundles/mine", "--data=/home/me/m.csv", "--judge", "resnet18=/home/me/w.pth"]
    )
    assert _command() == "chromaroute-train evaluate bundles/mine --data=me/m.csv --judge resnet18=me/w.pth"


def test_report_on_a_single_picture_states_no_differences(manifest: Path, judge: Path, tmp_path: Path) -> None:
    invoke("evaluate", EVERYDAY, "--data", manifest, "--limit", 1, "--judge", judge, "--out", tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "unknown for one picture" in text
    assert "Yes." not in text
    assert "| ab of another picture" not in text
    json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)  # NaN is not JSON


def test_pictures_without_color_and_categories_with_a_bar_are_reported(manifest: Path, tmp_path: Path) -> None:
    entries = [entry for entry in read_index(manifest) if entry.split == "test"][:3]
    path = tmp_path / "grays" / "old" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 50), dtype=np.uint8)).convert("RGB").save(path)
    gray = replace(entries[0], path=str(path), category="old|new", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    write_index([*entries, gray], tmp_path / "manifest.csv")
    invoke("evaluate", EVERYDAY, "--data", tmp_path / "manifest.csv", "--out", tmp_path / "report")
    assert r"| old\|new | 1 |" in (tmp_path / "report" / "report.md").read_text()
    json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)


def test_markdown_tables_and_figures_become_html() -> None:
    written = table(["method", "value"], [["a", "1"], ["b", "2"]], ("b",))
    assert written == "| method | value |\n| --- | --- |\n| a | 1 |\n| **b** | **2** |"
    markdown = f'## A < B\n\nwhy & how\n\n- one\n\n{written}\n\n![it shows "it"](plots/plot.png)\n'
    page = render_html("A < B", markdown, {"plots/plot.png": b"png"})
    assert "<title>A &lt; B: evaluation</title>" in page
    assert "<h2>A &lt; B</h2>" in page
    assert "<p>why &amp; how</p>" in page
    assert "<li>one</li>" in page
    assert "<td><strong>b</strong></td>" in page
    assert 'src="data:image/png;base64,cG5n" alt="it shows &quot;it&quot;"' in page
