"""Colorizes many files: plans outputs, skips existing ones, reports failures. Resumable, because outputs are written atomically.

Pictures are found by their first bytes, whatever their names.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, count
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.batches.file_names import FORMATS, is_system_file, output_name
from models.atomic_files import replace_file
from models.decision import Decision
from models.decoders import READS, format_of
from models.ensemble import Ensemble
from models.errors import ChromarouteError, OptionError
from models.imaging import WRITES
from models.options import AUTO, Hint, Options
from models.pipeline import colorize

SUFFIX = "-colorized"  # of outputs beside their inputs
_FIRST_BYTES = 64  # of a file, which tell its format
_FILES = {*FORMATS, ".bmp", ".gif", ".heic", ".jp2"}  # suffixes by which `out` is a file and not a folder


@dataclass(frozen=True)
class FileTask:
    """One picture: the input, the output, its format, and colors of points."""

    source: Path
    target: Path
    format: str
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to colorize, and the files of the folders that are left out: no pictures, hidden, or made by systems and archivers."""

    tasks: list[FileTask]
    skipped: list[Path]


def plan(paths: Sequence[Path], out: Path | None, format: str, may_be_empty: bool = False) -> Plan:
    """The output of every input, in the order of the paths; folders are searched.

    Without `out`, `scan.jpg` becomes `scan-colorized.jpg` beside it, and `box/` becomes `box-colorized/`. An output in another
    format keeps the suffix of the input in its name (`scan.bmp.png`), so that names do not depend on the other files of a folder.

    Raises:
        OptionError: a path does not exist, there is no picture (unless it `may_be_empty`), an output would replace its input, or
            `out` is a file although there are several pictures or the format differs.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise OptionError("PATH", str(missing[0]), "files and folders that exist")
    skipped: list[Path] = []
    if out is not None and out.suffix.lower() in _FILES and not out.is_dir():
        tasks = [_single_task(paths, out, format)]
    else:
        tasks = [_task(source, folder, suffix, format) for source, folder, suffix in _find_pictures(paths, out, skipped)]
    if not tasks and not may_be_empty:
        raise OptionError("PATH", ", ".join(map(str, paths)), f"pictures, or folders with some ({', '.join(READS)})")
    if replaced := [task.source for task in tasks if task.target.resolve() == task.source.resolve()]:
        raise OptionError("--out", str(out), f"another path, because {replaced[0]} would be replaced")
    return Plan(_with_unique_targets(tasks), skipped)


def run(
    tasks: Sequence[FileTask],
    ensemble: Ensemble,
    options: Options,
    max_pixels: int,
    console: Console,
    report: Path | None = None,
    parallel: int = 1,
) -> tuple[int, dict[Path, str]]:
    """Colorize pictures, `parallel` at a time; returns the number of outputs, and the error message of every picture that failed.

    The decision record or the error of every picture is added to the file `report`.
    """
    records = _read_report(report)
    failures: dict[Path, str] = {}
    pool = ThreadPoolExecutor(parallel)
    outcomes = pool.map(lambda task: _attempt(task, ensemble, options, max_pixels), tasks)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("colorizing", total=len(tasks))
            for task, outcome in zip(tasks, outcomes, strict=True):
                if isinstance(outcome, Decision):
                    records[str(task.source)] = {"output": str(task.target), **outcome.model_dump(mode="json")}
                else:
                    failures[task.source] = outcome
                    records[str(task.source)] = {"error": outcome}
                progress.advance(bar)
    finally:
        pool.shutdown(cancel_futures=True)
        if report is not None:
            replace_file(report, (json.dumps(records, indent=1) + "\n").encode())
    return len(tasks) - len(failures), failures


def _attempt(task: FileTask, ensemble: Ensemble, options: Options, max_pixels: int) -> Decision | str:
    """The decision record, or the error message."""
    try:
        return colorize_one(task, ensemble, options, max_pixels)
    except (ChromarouteError, OSError) as error:
        return str(error)


def _single_task(paths: Sequence[Path], out: Path, format: str) -> FileTask:
    if len(paths) != 1 or paths[0].is_dir():
        raise OptionError("--out", str(out), "a folder, because there are several pictures")
    return FileTask(paths[0], out, format_of_output(out, format))


def format_of_output(out: Path, format: str) -> str:
    """The format of an output by its name.

    Raises:
        OptionError: the name has no suffix of a format that can be written, or of another one than `format`.
    """
    written = FORMATS.get(out.suffix.lower())
    if written is None or format not in (AUTO, written):
        raise OptionError("--out", str(out), f"a name that ends in {', '.join(FORMATS)} and fits --format")
    return written


def _find_pictures(paths: Sequence[Path], out: Path | None, skipped: list[Path]) -> Iterator[tuple[Path, Path, str]]:
    """Each picture, the folder of its output, and the suffix that is added to its name; other files are added to `skipped`."""
    for path in paths:
        if path.is_file():
            yield (path, out, "") if out else (path, path.parent, SUFFIX)
            continue
        root = out or path.resolve().with_name(path.resolve().name + SUFFIX)
        inside = path.resolve() in root.resolve().parents  # outputs of an earlier run are not inputs
        for source in sorted(path.rglob("*")):
            if not source.is_file() or (inside and root.resolve() in source.resolve().parents):
                continue
            if is_system_file(str(source.relative_to(path))) or _format(source) is None:
                skipped.append(source)
            else:
                yield source, root / source.parent.relative_to(path), ""


def _format(source: Path) -> str | None:
    """The format of a file by its first bytes; None if it is no picture, or cannot be read."""
    try:
        state = source.stat()
        return _format_of_state(source, state.st_size, state.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=100_000)
def _format_of_state(source: Path, size: int, modified: int) -> str | None:
    """As `_format`; an unchanged file is not opened again, because a watched folder is looked at every second."""
    with source.open("rb") as file:
        return format_of(file.read(_FIRST_BYTES))


def _task(source: Path, folder: Path, suffix: str, format: str) -> FileTask:
    found = _format(source)
    written = (found if found in WRITES else "png") if format == AUTO else format
    assert written is not None
    return FileTask(source, folder / output_name(f"{source.stem}{suffix}{source.suffix}", written), written)


def _with_unique_targets(tasks: Sequence[FileTask]) -> list[FileTask]:
    """The same tasks; equal targets, from several folders into one, are prefixed with the name of their folder, or a number."""
    taken: set[Path] = set()
    unique = []
    for task in tasks:
        parent, name = task.source.resolve().parent.name, task.target.name
        names = chain((name, f"{parent}-{name}"), (f"{parent}-{number}-{name}" for number in count(2)))
        target = next(path for path in map(task.target.with_name, names) if path not in taken)
        taken.add(target)
        unique.append(replace(task, target=target))
    return unique


def colorize_one(task: FileTask, ensemble: Ensemble, options: Options, max_pixels: int) -> Decision:
    """Colorize a picture; the output is written completely or not at all."""
    options = options.model_copy(update={"format": task.format, "hints": task.hints})
    content, _, decision = colorize(task.source.read_bytes(), ensemble, options, max_pixels)
    replace_file(task.target, content)
    return decision


def _read_report(report: Path | None) -> dict[str, dict[str, object]]:
    if report is None or not report.exists():
        return {}
    try:
        records = json.loads(report.read_bytes())
        if isinstance(records, dict):
            return records
    except ValueError:
        pass
    raise OptionError("--report", str(report), "a new file, or the report of an earlier run")
