import json
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
def box(tmp_path: Path, photographs: dict[str, Image.Image]) -> Path:
    """A folder of scans as people have them."""
    folder = tmp_path / "box"
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


def test_a_picture_is_colorized_beside_itself(box: Path) -> None:
    code, _ = chromaroute("colorize", box / "cat.jpg")
    assert code == 0
    with Image.open(box / "cat-colorized.jpg") as painted, Image.open(box / "cat.jpg") as gray:
        assert painted.size == gray.size
        assert painted.mode == "RGB"


def test_a_picture_is_colorized_into_a_named_file_of_another_format(box: Path, tmp_path: Path) -> None:
    assert chromaroute("colorize", box / "cat.jpg", "-o", tmp_path / "out.png", "--category", "food")[0] == 0
    with Image.open(tmp_path / "out.png") as painted:
        assert painted.format == "PNG"


def test_a_folder_is_walked_and_finished_files_are_skipped(box: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "decisions.json"
    code, output = chromaroute("colorize", box, "-o", out, "--report", report)
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed" in output
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert names == ["1950/city.gif.png", "cat.jpg", "cat.png"]
    records = json.loads(report.read_text())
    assert set(records) == {str(box / "cat.jpg"), str(box / "cat.png"), str(box / "1950/city.gif")}
    assert all(record["reason"] for record in records.values())

    (out / "cat.png").unlink()
    before = (out / "cat.jpg").stat().st_mtime_ns
    code, output = chromaroute("colorize", box, "-o", out, "--report", report)
    assert "1 colorized, 2 exist already (--force replaces them), 0 failed" in " ".join(output.split())
    assert (out / "cat.jpg").stat().st_mtime_ns == before
    assert set(json.loads(report.read_text())) == set(records)


def test_without_out_a_folder_gets_a_sibling_and_answers_are_not_colorized_again(box: Path) -> None:
    for _ in range(2):
        assert chromaroute("colorize", box)[0] == 0
    assert len(list(box.with_name("box-colorized").rglob("*.*"))) == 3


def test_failures_are_listed_and_the_others_finish(box: Path, tmp_path: Path) -> None:
    (box / "broken.jpg").write_bytes((box / "cat.jpg").read_bytes()[:2000])
    report = tmp_path / "decisions.json"
    code, output = chromaroute("colorize", box, "-o", tmp_path / "out", "--report", report)
    assert code == 1
    assert "3 colorized, 0 exist already, 1 failed" in output
    assert "broken.jpg" in output
    assert "export it again" in json.loads(report.read_text())[str(box / "broken.jpg")]["error"]
    assert not (tmp_path / "out" / "broken.jpg").exists()


def test_names_never_clash_and_do_not_depend_on_what_else_is_there(box: Path, tmp_path: Path) -> None:
    jobs = colorize_files.plan([box], tmp_path / "out", "webp")
    assert sorted(job.target.name for job in jobs) == ["cat.jpg.webp", "cat.png.webp", "city.gif.webp"]
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.png").write_bytes((box / "cat.png").read_bytes())
    scans = [tmp_path / name / "scan.png" for name in "abc"]
    assert [job.target.name for job in colorize_files.plan(scans, tmp_path / "out", "auto")] == [
        "scan.png",
        "b-scan.png",
        "c-scan.png",
    ]


def test_out_may_be_a_folder_above_and_never_the_question_itself(box: Path) -> None:
    jobs = colorize_files.plan([box / "1950"], box, "auto")
    assert [job.target for job in jobs] == [box / "city.gif.png"]
    for paths, out in (([box], box), ([box / "cat.jpg"], box), ([box / "cat.jpg"], box / "cat.jpg")):
        with pytest.raises(OptionError, match="would be replaced"):
            colorize_files.plan(paths, out, "auto")


def test_answers_inside_the_folder_are_not_colorized_again(box: Path) -> None:
    for _ in range(2):
        assert chromaroute("colorize", box, "-o", box / "done")[0] == 0
    assert len([path for path in (box / "done").rglob("*") if path.is_file()]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colorize", "nowhere.jpg"], "PATH is 'nowhere.jpg'"),
        (["colorize", "{box}", "-o", "one.png"], "--out is 'one.png'"),
        (["colorize", "{box}/cat.jpg", "-o", "a.png", "--format", "webp"], "fits --format"),
        (["colorize", "{box}/1950/..", "--category", "car"], "category is 'car'"),
        (["colorize", "{box}/cat.jpg", "--saturation", "9"], "saturation is 9.0"),
        (["bundle", "show", "{box}"], "is not a bundle"),
    ],
)
def test_bad_arguments_are_explained(arguments: list[str], message: str, box: Path) -> None:
    with pytest.raises(Exception, match=message) as caught:
        raise_from(*(argument.format(box=box) for argument in arguments))
    assert isinstance(caught.value, Exception)


def raise_from(*arguments: str) -> None:
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exception is not None
    raise result.exception


def test_the_command_ends_with_a_message_and_exit_code_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "colorize", str(tmp_path / "nothing.png")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("chromaroute: PATH is ")
    assert "Traceback" not in done.stderr


def test_a_damaged_bundle_stops_the_server_with_the_files_name(tmp_path: Path) -> None:
    import shutil

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


def test_bundle_show_and_verify(tmp_path: Path) -> None:
    code, output = chromaroute("bundle", "show")
    assert code == 0
    assert "fallback general" in output
    code, output = chromaroute("bundle", "verify")
    assert code == 0
    assert "complete and fit" in output


def test_a_report_that_is_something_else_is_not_overwritten(box: Path, tmp_path: Path) -> None:
    report = tmp_path / "letter.json"
    report.write_text("Dear aunt")
    with pytest.raises(OptionError, match="--report"):
        raise_from("colorize", str(box), "--report", str(report), "-o", str(tmp_path / "out"))
    assert report.read_text() == "Dear aunt"


def test_the_command_line_and_the_api_paint_alike(box: Path, client, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    chromaroute("colorize", box / "cat.png", "-o", tmp_path / "out.png")
    answer = client.post("/v1/colorize", files={"file": (box / "cat.png").read_bytes()})
    assert (tmp_path / "out.png").read_bytes() == answer.content
    assert np.array(Image.open(tmp_path / "out.png")).ndim == 3


def test_what_is_there_is_colorized_again_only_if_asked(box: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chromaroute("colorize", box / "cat.jpg", "-o", out)
    first = (out / "cat.jpg").read_bytes()
    code, output = chromaroute("colorize", box / "cat.jpg", "-o", out, "--saturation", "0.2")
    assert (code, (out / "cat.jpg").read_bytes()) == (0, first)
    assert "0 colorized, 1 exist already (--force replaces them)" in " ".join(output.split())
    code, output = chromaroute("colorize", box / "cat.jpg", "-o", out, "--saturation", "0.2", "--force")
    assert "1 colorized, 0 exist already" in output
    assert (out / "cat.jpg").read_bytes() != first


def test_what_systems_leave_in_folders_is_no_picture(box: Path, tmp_path: Path) -> None:
    (box / "__MACOSX").mkdir()
    for name in ("._cat.jpg", "__MACOSX/cat.jpg"):
        (box / name).write_bytes(b"of the system")
    code, output = chromaroute("colorize", box, "-o", tmp_path / "out")
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed" in output
