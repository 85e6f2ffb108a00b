import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app import cli
from app.cli import colorize_files
from models.bundle import EVERYDAY
from models.errors import OptionError


@pytest.fixture
def scans(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    """A folder with scans, a subfolder and a text file."""
    folder = tmp_path / "scans"
    (folder / "1950").mkdir(parents=True)
    photographs["cat"].convert("L").save(folder / "cat.jpg")
    photographs["cat"].convert("L").save(folder / "cat.png")
    photographs["city"].convert("L").save(folder / "1950" / "city.gif")
    (folder / "notes.txt").write_text("no picture")
    return folder


def chromaroute(*arguments: object) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    message = str(result.exception) if result.exception and not isinstance(result.exception, SystemExit) else ""
    return result.exit_code, result.output + message


def test_single_file_is_written_beside_input(scans: Path) -> None:
    code, _ = chromaroute("colorize", scans / "cat.jpg")
    assert code == 0
    with Image.open(scans / "cat-colorized.jpg") as colorized, Image.open(scans / "cat.jpg") as gray:
        assert colorized.size == gray.size
        assert colorized.mode == "RGB"


def test_out_file_extension_sets_format(scans: Path, tmp_path: Path) -> None:
    assert chromaroute("colorize", scans / "cat.jpg", "-o", tmp_path / "out.png", "--category", "food")[0] == 0
    with Image.open(tmp_path / "out.png") as colorized:
        assert colorized.format == "PNG"


def test_folder_is_colorized_recursively_and_existing_outputs_are_skipped(scans: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "decisions.json"
    code, output = chromaroute("colorize", scans, "-o", out, "--report", report)
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed" in output
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert names == ["1950/city.gif.png", "cat.jpg", "cat.png"]
    records = json.loads(report.read_text())
    assert set(records) == {str(scans / "cat.jpg"), str(scans / "cat.png"), str(scans / "1950/city.gif")}
    assert all(record["reason"] for record in records.values())

    (out / "cat.png").unlink()
    before = (out / "cat.jpg").stat().st_mtime_ns
    code, output = chromaroute("colorize", scans, "-o", out, "--report", report)
    assert "1 colorized, 2 exist already (--force replaces them), 0 failed" in " ".join(output.split())
    assert (out / "cat.jpg").stat().st_mtime_ns == before
    assert set(json.loads(report.read_text())) == set(records)


def test_folder_without_out_gets_sibling_folder(scans: Path) -> None:
    for _ in range(2):
        assert chromaroute("colorize", scans)[0] == 0
    assert len(list(scans.with_name("scans-colorized").rglob("*.*"))) == 3


def test_failed_files_are_reported_and_others_colorized(scans: Path, tmp_path: Path) -> None:
    (scans / "broken.jpg").write_bytes((scans / "cat.jpg").read_bytes()[:2000])
    report = tmp_path / "decisions.json"
    code, output = chromaroute("colorize", scans, "-o", tmp_path / "out", "--report", report)
    assert code == 1
    assert "3 colorized, 0 exist already, 1 failed" in output
    assert "broken.jpg" in output
    assert "export it again" in json.loads(report.read_text())[str(scans / "broken.jpg")]["error"]
    assert not (tmp_path / "out" / "broken.jpg").exists()


def test_output_names_are_unique_and_deterministic(scans: Path, tmp_path: Path) -> None:
    jobs = colorize_files.plan([scans], tmp_path / "out", "webp")
    assert sorted(job.target.name for job in jobs) == ["cat.jpg.webp", "cat.png.webp", "city.gif.webp"]
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.png").write_bytes((scans / "cat.png").read_bytes())
    scans = [tmp_path / name / "scan.png" for name in "abc"]
    assert [job.target.name for job in colorize_files.plan(scans, tmp_path / "out", "auto")] == [
        "scan.png",
        "b-scan.png",
        "c-scan.png",
    ]


def test_out_may_be_parent_folder_but_never_replaces_input(scans: Path) -> None:
    jobs = colorize_files.plan([scans / "1950"], scans, "auto")
    assert [job.target for job in jobs] == [scans / "city.gif.png"]
    for paths, out in (([scans], scans), ([scans / "cat.jpg"], scans), ([scans / "cat.jpg"], scans / "cat.jpg")):
        with pytest.raises(OptionError, match="would be replaced"):
            colorize_files.plan(paths, out, "auto")


def test_outputs_inside_input_folder_are_not_colorized_again(scans: Path) -> None:
    for _ in range(2):
        assert chromaroute("colorize", scans, "-o", scans / "done")[0] == 0
    assert len([path for path in (scans / "done").rglob("*") if path.is_file()]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colorize", "nowhere.jpg"], "PATH is 'nowhere.jpg'"),
        (["colorize", "{scans}", "-o", "one.png"], "--out is 'one.png'"),
        (["colorize", "{scans}/cat.jpg", "-o", "a.png", "--format", "webp"], "fits --format"),
        (["colorize", "{scans}/1950/..", "--category", "car"], "category is 'car'"),
        (["colorize", "{scans}/cat.jpg", "--saturation", "9"], "saturation is 9.0"),
        (["bundle", "show", "{scans}"], "is not a bundle"),
    ],
)
def test_invalid_arguments_are_reported(arguments: list[str], message: str, scans: Path) -> None:
    with pytest.raises(Exception, match=message):
        raise_from(*(argument.format(scans=scans) for argument in arguments))


def raise_from(*arguments: str) -> None:
    """Run the command, and raise its exception."""
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is not None
    raise result.exception


@pytest.mark.slow
def test_error_is_printed_without_traceback_and_exit_code_is_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "colorize", str(tmp_path / "nothing.png")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("chromaroute: PATH is ")
    assert "Traceback" not in done.stderr


@pytest.mark.server
@pytest.mark.slow
def test_serve_with_damaged_bundle_exits_with_file_name(tmp_path: Path) -> None:
    damaged = shutil.copytree(EVERYDAY, tmp_path / "bundle")
    (damaged / "general.safetensors").write_bytes(b"cut off")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve", "--bundle", str(damaged), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "general.safetensors, has 7 bytes" in done.stderr
    assert "Traceback" not in done.stderr


def test_bundle_show_and_verify_commands(tmp_path: Path) -> None:
    code, output = chromaroute("bundle", "show")
    assert code == 0
    assert "fallback general" in output
    code, output = chromaroute("bundle", "verify")
    assert code == 0
    assert "complete and fit" in output


def test_report_does_not_overwrite_other_file(scans: Path, tmp_path: Path) -> None:
    report = tmp_path / "letter.json"
    report.write_text("a letter")
    with pytest.raises(OptionError, match="--report"):
        raise_from("colorize", str(scans), "--report", str(report), "-o", str(tmp_path / "out"))
    assert report.read_text() == "a letter"


def test_command_line_and_api_give_identical_bytes(scans: Path, client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    chromaroute("colorize", scans / "cat.png", "-o", tmp_path / "out.png")
    response = client.post("/v1/colorize", files={"file": (scans / "cat.png").read_bytes()})
    assert (tmp_path / "out.png").read_bytes() == response.content
    assert np.array(Image.open(tmp_path / "out.png")).ndim == 3


def test_existing_output_is_replaced_only_with_force(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chromaroute("colorize", scans / "cat.jpg", "-o", out)
    first = (out / "cat.jpg").read_bytes()
    code, output = chromaroute("colorize", scans / "cat.jpg", "-o", out, "--saturation", "0.2")
    assert (code, (out / "cat.jpg").read_bytes()) == (0, first)
    assert "0 colorized, 1 exist already (--force replaces them)" in " ".join(output.split())
    code, output = chromaroute("colorize", scans / "cat.jpg", "-o", out, "--saturation", "0.2", "--force")
    assert "1 colorized, 0 exist already" in output
    assert (out / "cat.jpg").read_bytes() != first


def test_operating_system_files_are_ignored(scans: Path, tmp_path: Path) -> None:
    (scans / "__MACOSX").mkdir()
    for name in ("._cat.jpg", "__MACOSX/cat.jpg"):
        (scans / name).write_bytes(b"metadata")
    code, output = chromaroute("colorize", scans, "-o", tmp_path / "out")
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed" in output
