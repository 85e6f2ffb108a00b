"""The README's commands, run as they stand."""

import json
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

from models.bundle import EVERYDAY, Bundle
from tests.server_process import serving
from training.evaluation.document import Table, markdown
from training.evaluation.report import blocks, readme_table
from training.evaluation.targets import targets_table
from training.evaluation.wording import difference, sign

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "report"
MEASURED = ROOT / "docs" / "measured"  # the numbers of reports on other pictures
OTHERS = ("unseen", "cifar", "strangers")
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The served address, by the command that `make serve` runs."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running.address


@pytest.fixture
def desk(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    """A folder with what the README's commands speak of."""
    photographs["person"].convert("L").save(tmp_path / "scan.jpg")
    (tmp_path / "box").mkdir()
    photographs["city"].convert("L").save(tmp_path / "box" / "street.png")
    photographs["city"].convert("L").save(tmp_path / "street.png")
    shutil.make_archive(str(tmp_path / "box"), "zip", tmp_path / "box")
    return tmp_path


def test_the_readme_has_its_commands() -> None:
    assert COMMANDS[:2] == ["make serve", "make test"]
    assert sum(command.startswith("curl") for command in COMMANDS) == 6
    assert sum(command.startswith("chromaroute") for command in COMMANDS) == 6
    assert [command for command in COMMANDS if not command.startswith(("make", "curl", "chromaroute"))] == ["docker compose up"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make_commands_do_what_they_say(command: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PORT", "TORCH", "MAKEFLAGS", "MAKELEVEL")}
    planned = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert planned.returncode == 0
    expected = ["chromaroute serve --port 8000"] if command == "make serve" else ["ruff check", "mypy", "pytest"]
    assert all(part in planned.stdout for part in expected)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("curl")])
def test_curl_commands_work(command: str, server: str, desk: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, so the README's HTTP commands are not tried")
    command = command.replace("http://127.0.0.1:8000", server).replace("curl ", "curl --fail --silent --show-error ")
    done = subprocess.run(command, shell=True, cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if command.endswith(".zip"):
        with zipfile.ZipFile(desk / "colorized.zip") as archive:
            assert archive.namelist() == ["street.png", "decisions.json"]
    elif "-o " in command:
        with Image.open(desk / command.rpartition("-o ")[2]) as painted, Image.open(desk / "scan.jpg") as scan:
            assert painted.size == scan.size
    else:
        assert done.stdout.startswith(("{", "["))


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("chromaroute")])
def test_command_lines_work(command: str, desk: Path) -> None:
    arguments = [sys.executable, "-m", "app.cli", *command.split()[1:]]
    done = subprocess.run(arguments, cwd=desk, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_measured_table_is_the_committed_report_on_the_shipped_bundle(bundle: Bundle) -> None:
    numbers = json.loads((REPORT / "report.json").read_text())
    assert readme_table(numbers) in README
    better = [name for name, row in numbers["categories"].items() if sign(row["routed - general"]) == -1]
    paid = difference(numbers["differences"]["routed - general"])
    said = f"by ΔE00 {paid}, in {len(better)} of {len(numbers['categories'])} categories"
    assert said in README
    assert numbers["bundle"] == bundle.label


def test_the_aims_and_what_was_reached_are_told_alike_everywhere(bundle: Bundle) -> None:
    found = [json.loads(path.read_text()) for path in (REPORT / "report.json", *(MEASURED / f"{name}.json" for name in OTHERS))]
    assert {each["bundle"] for each in found} == {bundle.label}
    table = targets_table(*found)
    for document in (README, (EVERYDAY / "CARD.md").read_text(), (ROOT / "docs" / "results.md").read_text()):
        assert table in document


def test_the_results_quote_the_committed_reports() -> None:
    everyday, papers = (ROOT / "docs" / "results.md").read_text().split("\n# The systems of five papers\n")
    own = everyday[: everyday.index("## What each step brought")], everyday[everyday.index("## Does it look right") :]
    for part, source in (
        (own[0], REPORT / "report.md"),
        (own[1][: own[1].index("An independent judge")], REPORT / "report.md"),
        (papers, ROOT / "docs" / "comparisons.md"),
    ):
        text = source.read_text().replace("**", "")
        tables = [block.splitlines() for block in part.split("\n\n") if block.startswith("| way |")]
        assert tables
        for line in (line for table in tables for line in table[2:]):
            assert line in text, line


def test_the_committed_report_says_what_its_numbers_say() -> None:
    numbers, text = json.loads((REPORT / "report.json").read_text()), (REPORT / "report.md").read_text()
    tables = [block for block in blocks(numbers, []) if isinstance(block, Table)]
    assert len(tables) > 6
    for table in tables:
        assert markdown([table]).strip() in text


def test_the_documents_that_the_readme_names_are_there() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / name).is_file(), name


def test_make_bundle_goes_the_whole_way_from_photographs_to_scores() -> None:
    planned = subprocess.run(["make", "bundle", "SMOKE=1", "DATA=tests", "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    runs = [f"train everyday-{name}" for name in ("trunk", "wide", "close", "general", "experts")]
    steps = ["prepare tests", *runs, "publish bundle-everyday", "evaluate data/smoke"]
    places = [planned.stdout.index(f"chromaroute-train {step}") for step in steps]
    assert places == sorted(places)
