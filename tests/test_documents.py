"""The documentation: its examples run, and its generated parts and quoted numbers are those of the code and the reports."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from models.bundle import Bundle
from tests.server_process import ROOT, Server, serving
from training.report.formatting import difference
from training.report.render import read_report

DOCS = ROOT / "docs"
API = (DOCS / "api.md").read_text()
EXAMPLES = re.findall(r"```(sh|python|js)\n(.*?)```", API, re.DOTALL)
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    photographs["person"].convert("L").save(tmp_path / "scan.jpg")
    photographs["city"].convert("L").save(tmp_path / "street.png")
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.write(tmp_path / "scan.jpg", "scan.jpg")
    return tmp_path


def test_every_call_is_shown_with_curl_httpx_and_fetch_in_few_lines() -> None:
    assert [language for language, _ in EXAMPLES] == ["sh", "python", "js"] * 4
    for _, code in EXAMPLES:
        assert len([line for line in code.splitlines() if line.strip()]) <= 7


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_example_of_the_api_runs(language: str, code: str, server: Server, folder: Path) -> None:
    if language == "js" and NODE is None and "TEST_EVERYTHING" not in os.environ:
        pytest.skip("node is not installed: the examples with fetch are not tried")
    code = code.replace("http://127.0.0.1:8000", server.address).replace("curl -", "curl --fail -")
    path = folder / {"sh": "example.sh", "python": "example.py", "js": "example.mjs"}[language]
    path.write_text(code)
    command = {"sh": ["bash", "-euo", "pipefail"], "python": [sys.executable, "-W", "error"], "js": [str(NODE)]}[language]
    if language == "python":  # the example leaves its file open, as people do
        command += ["-W", "ignore::ResourceWarning"]
    done = subprocess.run([*command, path], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if (folder / "colorized.zip").exists():
        with zipfile.ZipFile(folder / "colorized.zip") as archive:
            assert "decisions.json" in archive.namelist()
    elif (folder / "color.jpg").exists():
        with Image.open(folder / "color.jpg") as colorized:
            assert colorized.size == (200, 200)
    else:
        assert '"state":"finished"' in done.stdout


@pytest.mark.slow
def test_generated_parts_are_current() -> None:
    done = subprocess.run([sys.executable, "docs/build.py", "--check"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_reports_are_of_the_embedded_bundle(bundle: Bundle) -> None:
    reports = [read_report(path) for path in (DOCS / "report" / "report.json", *(DOCS / "measured").glob("*.json"))]
    assert {report.bundle for report in reports} == {bundle.label}
    assert bundle.label in (DOCS / "results.md").read_text()


def test_results_quote_the_committed_reports() -> None:
    everyday, papers = (DOCS / "results.md").read_text().split("\n# The systems of five papers\n")
    start = everyday.index("## What each step brought")
    report, comparisons = DOCS / "report" / "report.md", DOCS / "comparisons.md"
    for part, source in ((everyday[:start], report), (papers, comparisons)):
        quoted = source.read_text().replace("**", "")
        tables = [block.splitlines() for block in part.split("\n\n") if block.startswith("| method |")]
        assert tables
        for line in (line for table in tables for line in table[2:]):
            assert line in quoted, line


def test_results_state_the_gain_of_routing_as_measured() -> None:
    report = read_report(DOCS / "report" / "report.json")
    gain = difference(report.difference("routed", "general"))
    better = [category.name for category in report.categories if category.routed_minus_general.sign == -1]
    text = " ".join((DOCS / "results.md").read_text().split())
    assert gain in text
    assert f"in {len(better)} of {len(report.categories)} categories ({', '.join(better)})" in text
