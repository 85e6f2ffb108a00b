"""`chromaroute colorize --watch`: new pictures of folders are colorized once they have stopped growing."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from app import cli
from app.cli import watch_folders
from models.ensemble import Ensemble
from models.errors import OptionError
from models.options import Options
from tests.app.archives import tiny_picture
from tests.server_process import ROOT, wait_until

JPEG = tiny_picture("JPEG")


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is watched without pauses."""
    monkeypatch.setattr(watch_folders, "PERIOD", 0)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def watch(inbox: Path, ensemble: Ensemble) -> Callable[..., str]:
    """Watch the folder; before each look, one of the actions is done. Returns what is printed."""

    def run(*actions: Callable[[], object], out: Path | None = None, options: Options | None = None) -> str:
        remaining = list(actions)

        def stopped() -> bool:
            if not remaining:
                return True
            remaining.pop(0)()
            return False

        printed = io.StringIO()
        watch_folders.watch([inbox], out, ensemble, options or Options(), 1_000_000, Console(file=printed, width=400), stopped)
        return printed.getvalue()

    return run


def nothing() -> None:
    """No change before a look."""


def write(path: Path, content: bytes, seconds: float = 0) -> Callable[[], object]:
    """Writes a file whose time of change is `seconds` from now."""

    def action() -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time.time() + seconds, time.time() + seconds))

    return action


def test_file_is_colorized_once_it_has_stopped_growing(watch: Callable[..., str], inbox: Path) -> None:
    path, target = inbox / "a.jpg", inbox.with_name("inbox-colorized") / "a.jpg"
    there: list[bool] = []

    def look() -> None:
        there.append(target.exists())

    parts = [write(path, JPEG[: size * len(JPEG) // 4], size) for size in (1, 2, 3, 4)]
    printed = watch(*parts, look, look, look)
    assert there == [False, True, True]
    with Image.open(target) as image:
        assert image.mode == "RGB"
    assert printed.count("a.jpg ->") == 1
    assert "truncated" not in printed


def test_new_files_and_folders_are_found(watch: Callable[..., str], inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch(
        nothing, write(inbox / "a.jpg", JPEG), write(inbox / "1950" / "b.png", tiny_picture()), write(inbox / "c.txt", b"text"),
        write(inbox / "Thumbs.db", JPEG), write(inbox / "scan", tiny_picture("TIFF")), nothing, nothing,
        out=out, options=Options(format="webp"),
    )  # fmt: skip
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert names == ["1950/b.png.webp", "a.jpg.webp", "scan.webp"]


def test_failing_file_is_reported_once_and_tried_again_when_it_changes(watch: Callable[..., str], inbox: Path) -> None:
    path, other = inbox / "a.jpg", inbox / "b.jpg"
    printed = watch(
        write(path, JPEG[:200]), nothing, nothing, nothing, write(other, JPEG), nothing, nothing,
        write(path, JPEG, 5), nothing, nothing,
    )  # fmt: skip
    assert printed.count("a.jpg: ") == 1
    assert printed.count("a.jpg ->") == printed.count("b.jpg ->") == 1
    assert (inbox.with_name("inbox-colorized") / "a.jpg").exists()


def test_changed_file_is_colorized_again(watch: Callable[..., str], inbox: Path) -> None:
    path, target = inbox / "a.jpg", inbox.with_name("inbox-colorized") / "a.jpg"
    first: list[bytes] = []
    printed = watch(
        write(path, JPEG), nothing, nothing, lambda: first.append(target.read_bytes()),
        write(path, tiny_picture("JPEG", quality=20), 5), nothing, nothing, nothing,
    )  # fmt: skip
    assert printed.count("a.jpg ->") == 2
    assert target.read_bytes() != first[0]


def test_finished_files_are_not_colorized_again_by_the_next_run(watch: Callable[..., str], inbox: Path) -> None:
    assert "a.jpg ->" in watch(write(inbox / "a.jpg", JPEG, -60), nothing, nothing)
    assert "a.jpg ->" not in watch(nothing, nothing, nothing)


def test_outputs_inside_of_the_folder_are_not_inputs(watch: Callable[..., str], inbox: Path) -> None:
    printed = watch(write(inbox / "a.jpg", JPEG), *[nothing] * 5, out=inbox / "done")
    assert printed.count("->") == 1
    assert [path.name for path in (inbox / "done").iterdir()] == ["a.jpg"]


def test_folder_that_is_gone_for_a_moment_is_watched_on(watch: Callable[..., str], inbox: Path) -> None:
    printed = watch(nothing, lambda: shutil.rmtree(inbox), nothing, write(inbox / "a.jpg", JPEG), nothing, nothing)
    assert printed.count("a.jpg ->") == 1


def test_file_that_disappears_is_no_error(watch: Callable[..., str], inbox: Path) -> None:
    path = inbox / "a.jpg"
    printed = watch(write(path, JPEG), path.unlink, nothing, nothing)
    assert "a.jpg" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{inbox}/a.jpg"], "folders, because --watch waits for new files"),
        (["{inbox}/nowhere"], "files and folders that exist"),
        (["{inbox}", "-o", "{inbox}/one.png"], "a folder, because there are several pictures"),
        (["{inbox}", "-o", "{inbox}"], "would be replaced"),
        (["{inbox}", "--report", "{inbox}/report.json"], "no report together with - or --watch"),
    ],
)
def test_invalid_arguments_are_reported_at_once(arguments: list[str], message: str, inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(JPEG)
    result = CliRunner().invoke(cli.app, ["colorize", "--watch", *(argument.format(inbox=inbox) for argument in arguments)])
    assert isinstance(result.exception, OptionError)
    assert message in str(result.exception)


def test_interrupt_ends_the_command(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inbox / "a.jpg").write_bytes(JPEG)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.watch_folders.time.sleep", sleep)
    result = CliRunner().invoke(cli.app, ["colorize", str(inbox), "--watch", "--category", "food"])
    assert result.exit_code == 0
    assert "Ctrl-C ends" in result.output
    assert "(food)" in result.output


@pytest.mark.slow
def test_command_watches_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    command = [sys.executable, "-m", "app.cli", "colorize", str(tmp_path / "inbox"), "--watch", "-o", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell inherit that it is ignored
    )  # fmt: skip
    try:
        (tmp_path / "inbox" / "a.jpg").write_bytes(JPEG)
        wait_until((tmp_path / "out" / "a.jpg").exists)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in printed
