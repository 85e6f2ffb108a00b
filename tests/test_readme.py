"""The commands and examples of the README and of the Makefile, run as they are written."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.server_process import ROOT, serving

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
MAXIMUM_WORDS = 700


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that was started by the command of `make serve`."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running.address


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    """A folder with the files that the commands of the README use."""
    photographs["person"].convert("L").save(tmp_path / "scan.jpg")
    (tmp_path / "box").mkdir()
    photographs["city"].convert("L").save(tmp_path / "box" / "street.png")
    return tmp_path


def test_readme_is_short_and_shows_every_way_of_calling() -> None:
    assert len(README.split()) <= MAXIMUM_WORDS
    assert [command.split()[0] for command in COMMANDS] == ["make", "docker", "curl", "chromaroute", "chromaroute"]
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 5


@pytest.mark.parametrize(
    ("command", "steps"),
    [
        ("serve", ["chromaroute serve --port 8000"]),
        ("check", ["ruff format --check", "ruff check", "mypy", "pytest"]),
        ("test", ["ruff format --check", "ruff check", "mypy", "pytest", "pytest"]),
        ("docs", ["docs/build.py"]),
        (
            "bundle SMOKE=1 DATA=tests",
            [
                "prepare tests",
                *(f"train everyday-{name}" for name in ("joint", "readouts")),
                "publish bundle-everyday",
                "evaluate data/smoke",
            ],
        ),
    ],
)
def test_make_runs_its_steps_in_order(command: str, steps: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PORT", "TORCH", "MAKEFLAGS", "MAKELEVEL")}
    planned = subprocess.run(["make", *command.split(), "--dry-run"], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert planned.returncode == 0
    assert re.search(".*".join(map(re.escape, steps)), planned.stdout, re.DOTALL)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("curl")])
def test_curl_command_colorizes(command: str, server: str, folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, so the README's HTTP commands are not tried")
    command = command.replace("http://127.0.0.1:8000", server).replace("curl ", "curl --fail --silent --show-error ")
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_colorized(folder / "scan-colorized.jpg", folder / "scan.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("chromaroute")])
def test_command_line_colorizes(command: str, folder: Path) -> None:
    arguments = [sys.executable, "-m", "app.cli", *command.split()[1:]]
    done = subprocess.run(arguments, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "box" in command:
        assert_colorized(folder / "colorized" / "street.png", folder / "box" / "street.png")
        assert (folder / "decisions.json").is_file()
    else:
        assert_colorized(folder / "scan-colorized.jpg", folder / "scan.jpg")


@pytest.mark.slow
def test_python_example_colorizes(folder: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_colorized(folder / "scan-colorized.jpg", folder / "scan.jpg")


def assert_colorized(output: Path, source: Path) -> None:
    with Image.open(output) as colorized, Image.open(source) as scan:
        assert colorized.size == scan.size
        assert colorized.convert("YCbCr").split()[1].getextrema() != (128, 128)


@pytest.mark.parametrize(
    "document", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "models" / "bundles" / "everyday" / "CARD.md"]
)
def test_linked_files_exist(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s:]+)\)", document.read_text()):
        assert (document.parent / link.partition("#")[0]).exists(), link
