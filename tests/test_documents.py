"""What docs/ promises: the examples run, and the tables are those of the code."""

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

from app.errors import PROBLEM_TYPES
from app.settings import Settings
from tests.server_process import ROOT, Server, serving

API = (ROOT / "docs" / "api.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
EXAMPLES = re.findall(r"```(sh|python|js)\n(.*?)```", API, re.DOTALL)
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    photographs["person"].convert("L").save(tmp_path / "scan.jpg")
    photographs["city"].convert("L").save(tmp_path / "street.png")
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as archive:
        archive.write(tmp_path / "scan.jpg", "scan.jpg")
    return tmp_path


def test_every_way_of_calling_is_shown_in_few_lines() -> None:
    assert [language for language, _ in EXAMPLES] == ["sh", "python", "js"] * 3
    for _, code in EXAMPLES:
        assert len([line for line in code.splitlines() if line.strip()]) <= 6


@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_the_examples_run(language: str, code: str, server: Server, desk: Path) -> None:
    if language == "js" and NODE is None and "TEST_EVERYTHING" not in os.environ:
        pytest.skip("node is not installed: the examples with fetch are not tried")
    code = code.replace("http://127.0.0.1:8000", server.address).replace("curl -", "curl --fail -")
    path = desk / {"sh": "example.sh", "python": "example.py", "js": "example.mjs"}[language]
    path.write_text(code)
    command = {"sh": ["bash", "-euo", "pipefail"], "python": [sys.executable, "-W", "error"], "js": [str(NODE)]}[language]
    if language == "python":  # as people write it: what is left open there is closed at the end
        command += ["-W", "ignore::ResourceWarning"]
    done = subprocess.run([*command, path], cwd=desk, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if (desk / "colorized.zip").exists():
        with zipfile.ZipFile(desk / "colorized.zip") as archive:
            assert "decisions.json" in archive.namelist()
    elif (desk / "color.jpg").exists():
        with Image.open(desk / "color.jpg") as painted:
            assert painted.size == (200, 200)
    else:
        assert '"state":"finished"' in done.stdout


def test_the_problems_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", API, re.MULTILINE)
    documented = {slug: int(status) for status, slugs in rows for slug in re.findall(r"`([\w-]+)`", slugs)}
    assert documented == {slug: kind.status for slug, kind in PROBLEM_TYPES.items()}


def test_the_settings_are_those_of_the_code() -> None:
    table = OPERATIONS[OPERATIONS.index("| `CHROMAROUTE_` |") : OPERATIONS.index("## Keys")]
    documented = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([A-Z_]+)`", row)}
    assert documented - {"CHROMAROUTE_"} == {name.upper() for name in Settings.model_fields}
