import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageSequence
from typer.testing import CliRunner

from app import cli
from app.cli import colorize_files
from models.bundle_header import EVERYDAY
from models.errors import ChromarouteError, OptionError, PictureError
from tests.app.archives import tiny_picture


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


@pytest.mark.slow
def test_folder_is_colorized_recursively_and_existing_outputs_are_skipped(scans: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out", tmp_path / "decisions.json"
    code, output = chromaroute("colorize", scans, "-o", out, "--report", report)
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed, 1 skipped" in output
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
    assert "Export it again" in json.loads(report.read_text())[str(scans / "broken.jpg")]["error"]
    assert not (tmp_path / "out" / "broken.jpg").exists()


def test_output_names_are_unique_and_deterministic(scans: Path, tmp_path: Path) -> None:
    tasks = colorize_files.plan([scans], tmp_path / "out", "webp").tasks
    assert sorted(task.target.name for task in tasks) == ["cat.jpg.webp", "cat.png.webp", "city.gif.webp"]
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.png").write_bytes((scans / "cat.png").read_bytes())
    scans = [tmp_path / name / "scan.png" for name in "abc"]
    assert [task.target.name for task in colorize_files.plan(scans, tmp_path / "out", "auto").tasks] == [
        "scan.png",
        "b-scan.png",
        "c-scan.png",
    ]


def test_out_may_be_parent_folder_but_never_replaces_input(scans: Path) -> None:
    tasks = colorize_files.plan([scans / "1950"], scans, "auto").tasks
    assert [task.target for task in tasks] == [scans / "city.gif.png"]
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


def test_command_line_and_api_give_identical_bytes(scans: Path, client: TestClient, tmp_path: Path) -> None:
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


def test_pictures_of_a_folder_are_found_by_their_content(tmp_path: Path) -> None:
    folder, out = tmp_path / "scans", tmp_path / "out"
    folder.mkdir()
    formats = ["JPEG", "JPEG", "JPEG", "JPEG", "JPEG", "TIFF", "PNG", "AVIF", "JPEG2000", "BMP", "PNG"]
    names = ["a.jpg", "b.jfif", "c.jpe", "d.heic", "e.png", "f", "g.JPG", "h.avif", "i.jp2", "j.bmp", "k.txt"]
    for name, format in zip(names, formats, strict=True):
        (folder / name).write_bytes(tiny_picture(format))
    code, output = chromaroute("colorize", folder, "-o", out)
    assert code == 0
    assert "11 colorized, 0 exist already, 0 failed, 0 skipped" in output
    suffixes = ["", "", "", ".jpg", ".jpg", ".tif", ".png", "", ".png", ".png", ".png"]
    assert sorted(path.name for path in out.iterdir()) == [name + suffix for name, suffix in zip(names, suffixes, strict=True)]
    for path, format in zip(sorted(out.iterdir()), formats, strict=True):
        with Image.open(path) as image:
            assert image.format == (format if format in ("JPEG", "TIFF", "AVIF") else "PNG")


@pytest.mark.parametrize("name", ["b.jfif", "c.jpe", "c.JPEG"])
def test_jpeg_given_by_name_stays_a_jpeg(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(tiny_picture("JPEG"))
    assert chromaroute("colorize", tmp_path / name)[0] == 0
    with Image.open(tmp_path / name.replace(".", "-colorized.")) as colorized:
        assert colorized.format == "JPEG"


def test_every_file_of_a_folder_that_is_left_out_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    left_out = [
        "notes.txt",
        "Thumbs.db",
        "THUMBS.DB",
        ".hidden/a.jpg",
        "@eaDir/a.jpg/thumb.jpg",
        "__MACOSX/._a.jpg",
        "1950/list.csv",
    ]
    for name in [*left_out, "1950/a.jpg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tiny_picture() if "." in name[-4:] and name.endswith("jpg") else b"text")
    (folder / "empty").write_bytes(b"")
    code, output = chromaroute("colorize", folder)
    assert code == 0
    assert f"1 colorized, 0 exist already, 0 failed, {len(left_out) + 1} skipped" in output
    for name in [*left_out, "empty"]:
        assert f"{folder / name}: skipped" in output, name
    assert f"{folder / '1950/a.jpg'}: skipped" not in output


def test_folder_without_pictures_is_reported_with_the_formats(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(OptionError, match=r"pictures, or folders with some \(JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000"):
        raise_from("colorize", str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="pictures, or folders with some"):
        raise_from("colorize", str(tmp_path / "empty"))


def test_names_of_255_bytes_are_written(tmp_path: Path) -> None:
    name = "ü" * 125 + "x.jpg"
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / name).write_bytes(tiny_picture("JPEG"))
    code, output = chromaroute("colorize", tmp_path / "scans", "-o", tmp_path / "out")
    assert code == 0, output
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def colorize_stream(*arguments: object, content: bytes = b"") -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of the command `colorize`."""
    result = CliRunner().invoke(cli.app, ["colorize", *map(str, arguments)], input=content)
    if isinstance(result.exception, ChromarouteError):
        raise result.exception
    return result.exit_code, result.stdout_bytes, result.stderr


@pytest.mark.parametrize("arguments", [["-"], ["-", "-o", "-"], ["-", "--out", "-", "--format", "auto"]])
def test_picture_is_read_from_standard_input_and_written_to_standard_output(arguments: list[str], client: TestClient) -> None:
    code, output, message = colorize_stream(*arguments, content=tiny_picture("TIFF"))
    assert (code, message) == (0, "")
    assert output == client.post("/v1/colorize", files={"file": tiny_picture("TIFF")}).content


def test_standard_input_can_be_written_to_a_file_and_a_file_to_standard_output(tmp_path: Path) -> None:
    assert colorize_stream("-", "-o", tmp_path / "new" / "a.webp", content=tiny_picture()) == (0, b"", "")
    with Image.open(tmp_path / "new" / "a.webp") as image:
        assert image.format == "WEBP"
    (tmp_path / "scan.png").write_bytes(tiny_picture())
    code, output, _ = colorize_stream(tmp_path / "scan.png", "-o", "-", "--format", "jpeg")
    assert (code, output[:3]) == (0, b"\xff\xd8\xff")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "scan.png"]


def test_file_of_a_stream_is_replaced_only_with_force(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"precious")
    code, _, message = colorize_stream("-", "-o", target, content=tiny_picture())
    assert (code, target.read_bytes()) == (0, b"precious")
    assert message == f"{target} exists already (--force replaces it)\n"
    assert colorize_stream("-", "-o", target, "--force", content=tiny_picture())[0] == 0
    assert target.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "{scans}/cat.jpg"], "one picture, because it is streamed"),
        (["{scans}", "-o", "-"], "one picture, because it is streamed"),
        (["{scans}/nowhere.jpg", "-o", "-"], "one picture, because it is streamed"),
        (["-", "-o", "{scans}/a.bmp"], "a name that ends in .jpg"),
        (["-", "-o", "{scans}"], "a name that ends in .jpg"),
        (["-", "-o", "{scans}/a.png", "--format", "webp"], "fits --format"),
        (["-", "--report", "{scans}/report.json"], "no report together with - or --watch"),
        (["-", "--category", "spaceship"], "category is 'spaceship'"),
    ],
)
def test_invalid_arguments_of_a_stream_are_reported(arguments: list[str], message: str, scans: Path) -> None:
    with pytest.raises(OptionError, match=message):
        colorize_stream(*(argument.format(scans=scans) for argument in arguments), content=tiny_picture())


def test_broken_stream_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    for content in (b"", b"no picture", tiny_picture()[:-30]):
        with pytest.raises(PictureError):
            colorize_stream("-", "-o", tmp_path / "a.png", content=content)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jpg", "a.jfif", "a.JPE", "a.png", "a.webp", "a.tif", "a.TIFF", "a.avif"])
def test_output_file_is_in_the_format_of_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(tiny_picture("BMP"))
    assert chromaroute("colorize", tmp_path / "scan", "-o", tmp_path / name)[0] == 0
    with Image.open(tmp_path / name) as image:
        assert (
            image.format == {"jp": "JPEG", "jf": "JPEG", "pn": "PNG", "we": "WEBP", "ti": "TIFF", "av": "AVIF"}[name[2:4].lower()]
        )


def test_page_of_a_file_is_chosen(tmp_path: Path) -> None:
    pages = [Image.new("L", (16, 12 + index), 60 * index) for index in range(3)]
    pages[0].save(tmp_path / "album.tif", save_all=True, append_images=pages[1:])
    for arguments, heights in (([], [12, 13, 14]), (["--page", "3"], [14])):
        out = tmp_path / f"out{len(arguments)}.tif"
        assert chromaroute("colorize", tmp_path / "album.tif", "-o", out, *arguments)[0] == 0
        with Image.open(out) as image:
            assert [frame.height for frame in ImageSequence.Iterator(image)] == heights
    code, output, message = colorize_stream(tmp_path / "album.tif", "-o", "-", "--format", "png")
    assert (code, Image.open(io.BytesIO(output)).height) == (0, 12)
    assert message == "only page 1 of 3 is in the output: give page for another, or format=tiff for all\n"
    code, output = chromaroute("colorize", tmp_path / "album.tif", "--page", "4", "--out", tmp_path / "out")
    assert code == 1
    assert "page is 4, which is not valid: give a whole number from 1 to 3, the number of pages of this file" in output


def test_operating_system_files_are_ignored(scans: Path, tmp_path: Path) -> None:
    (scans / "__MACOSX").mkdir()
    for name in ("._cat.jpg", "__MACOSX/cat.jpg"):
        (scans / name).write_bytes(b"metadata")
    code, output = chromaroute("colorize", scans, "-o", tmp_path / "out")
    assert code == 0
    assert "3 colorized, 0 exist already, 0 failed, 3 skipped" in output
