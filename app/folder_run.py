"""Colouring many files: what goes where, what is there already, what failed. Resumable, because a file is whole or absent."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.names import FORMATS, added_by_archivers, answer_name
from models.ensemble import Ensemble, Options, colorize
from models.errors import ChromarouteError, OptionError
from models.files import replace_file

READS = {*FORMATS, ".bmp", ".gif"}
MARK = "-colour"  # of answers that are written beside their questions


@dataclass(frozen=True)
class Job:
    """One picture: where it is, where its answer goes, and in which format."""

    source: Path
    target: Path
    format: str


def plan(paths: Sequence[Path], out: Path | None, format: str) -> list[Job]:
    """Where every answer goes, in the order of the paths; folders are walked.

    Without `out`, `scan.jpg` becomes `scan-colour.jpg` beside it, and `box/` becomes `box-colour/`. An answer in another format
    keeps the old suffix in its name (`scan.bmp.png`), so that names never depend on what else is in a folder.

    Raises:
        OptionError: a path does not exist, there is no picture, an answer would replace its question, or `out` is a file for
            several pictures or of another format.
    """
    if missing := [path for path in paths if not path.exists()]:
        raise OptionError("PATH", str(missing[0]), "files and folders that exist")
    if out is not None and out.suffix.lower() in READS and not out.is_dir():
        jobs = [_single(paths, out, format)]
    else:
        jobs = [_job(source, folder, mark, format) for source, folder, mark in _found(paths, out)]
    if not jobs:
        raise OptionError("PATH", ", ".join(map(str, paths)), f"pictures, or folders with some ({', '.join(sorted(READS))})")
    if own := [job.source for job in jobs if job.target.resolve() == job.source.resolve()]:
        raise OptionError("--out", str(out), f"another place, because {own[0]} would be replaced")
    return _told_apart(jobs)


def run(
    jobs: Sequence[Job], ensemble: Ensemble, options: Options, max_pixels: int, console: Console, report: Path | None = None
) -> tuple[int, dict[Path, str]]:
    """Colour pictures; returns how many were coloured, and what was wrong with each that could not be.

    `report` gets the decision record or the error of every picture, and keeps those of earlier runs.
    """
    records = _earlier(report)
    failures: dict[Path, str] = {}
    try:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as progress:
            bar = progress.add_task("colouring", total=len(jobs))
            for job in jobs:
                try:
                    records[str(job.source)] = _colour(job, ensemble, options, max_pixels)
                except (ChromarouteError, OSError) as error:
                    failures[job.source] = str(error)
                    records[str(job.source)] = {"error": str(error)}
                progress.advance(bar)
    finally:
        if report is not None:
            replace_file(report, (json.dumps(records, indent=1) + "\n").encode())
    return len(jobs) - len(failures), failures


def _single(paths: Sequence[Path], out: Path, format: str) -> Job:
    if len(paths) != 1 or paths[0].is_dir():
        raise OptionError("--out", str(out), "a folder, because there are several pictures")
    written = FORMATS.get(out.suffix.lower())
    if written is None or format not in ("auto", written):
        raise OptionError("--out", str(out), f"a name that ends in {', '.join(FORMATS)} and fits --format")
    return Job(paths[0], out, written)


def _found(paths: Sequence[Path], out: Path | None) -> Iterator[tuple[Path, Path, str]]:
    """Each picture with the folder of its answer, and what is added to its name."""
    for path in paths:
        if path.is_file():
            yield (path, out, "") if out else (path, path.parent, MARK)
            continue
        root = out or path.resolve().with_name(path.resolve().name + MARK)
        inside = path.resolve() in root.resolve().parents  # answers of an earlier run are not questions
        for source in sorted(path.rglob("*")):
            if source.suffix.lower() not in READS or added_by_archivers(str(source.relative_to(path))):
                continue
            if source.is_file() and not (inside and root.resolve() in source.resolve().parents):
                yield source, root / source.parent.relative_to(path), ""


def _job(source: Path, folder: Path, mark: str, format: str) -> Job:
    own = FORMATS.get(source.suffix.lower())
    chosen = (own or "png") if format == "auto" else format
    return Job(source, folder / answer_name(f"{source.stem}{mark}{source.suffix}", chosen), chosen)


def _told_apart(jobs: Sequence[Job]) -> list[Job]:
    """The same jobs; answers of the same name, from several folders into one, get their folder's name before it, or a number."""
    taken: set[Path] = set()
    apart = []
    for job in jobs:
        parent, name = job.source.resolve().parent.name, job.target.name
        names = chain((name, f"{parent}-{name}"), (f"{parent}-{number}-{name}" for number in count(2)))
        target = next(path for path in (job.target.with_name(each) for each in names) if path not in taken)
        taken.add(target)
        apart.append(replace(job, target=target))
    return apart


def _colour(job: Job, ensemble: Ensemble, options: Options, max_pixels: int) -> dict[str, object]:
    answer, _, decision = colorize(job.source.read_bytes(), ensemble, replace(options, format=job.format), max_pixels)
    replace_file(job.target, answer)
    return {"output": str(job.target), **decision.model_dump(mode="json")}


def _earlier(report: Path | None) -> dict[str, dict[str, object]]:
    if report is None or not report.exists():
        return {}
    try:
        records = json.loads(report.read_bytes())
        if isinstance(records, dict):
            return records
    except ValueError:
        pass
    raise OptionError("--report", str(report), "a new file, or a report of an earlier run")
