"""Colorizes new pictures of folders as they arrive, once they have stopped growing."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from app.cli.colorize_files import FileTask, colorize_one, plan
from models.ensemble import Ensemble
from models.errors import ChromarouteError, OptionError
from models.options import Options

PERIOD = 1.0  # seconds between two looks; network file systems send no notifications
_State = tuple[int, int]  # size and time of the last change of a file


def watch(
    paths: Sequence[Path],
    out: Path | None,
    ensemble: Ensemble,
    options: Options,
    max_pixels: int,
    console: Console,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Colorize the pictures of folders that have no output yet, and then new and changed ones, until `stopped` or an interrupt.

    A file is colorized when it is the same in two looks; one that failed is tried again when it changes.

    Raises:
        OptionError: a path is no folder, or `out` is not one for all of them.
    """
    if files := [path for path in paths if path.is_file()]:
        raise OptionError("PATH", str(files[0]), "folders, because --watch waits for new files")
    plan(paths, out, options.format, may_be_empty=True)  # errors of the arguments
    states: dict[Path, _State] = {}
    handled: dict[Path, _State] = {}
    console.print(f"watching {', '.join(map(str, paths))}: Ctrl-C ends", markup=False)
    while not stopped():
        for task in _waiting(paths, out, options.format):
            state = _state(task.source)
            settled = state is not None and states.get(task.source) == state and handled.get(task.source) != state
            if state is None:
                continue
            states[task.source] = state
            if settled:
                handled[task.source] = state
                try:
                    decision = colorize_one(task, ensemble, options, max_pixels)
                    console.print(f"{task.source} -> {task.target} ({decision.category})", markup=False, soft_wrap=True)
                except (ChromarouteError, OSError) as error:
                    console.print(f"{task.source}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        time.sleep(PERIOD)


def _waiting(paths: Sequence[Path], out: Path | None, format: str) -> list[FileTask]:
    """The pictures that have no output, or one that is older than they are."""
    with suppress(OptionError):  # a folder is gone for the moment
        tasks = plan(paths, out, format, may_be_empty=True).tasks
        return [task for task in tasks if _modified(task.source) > _modified(task.target)]
    return []


def _state(path: Path) -> _State | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return None


def _modified(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
