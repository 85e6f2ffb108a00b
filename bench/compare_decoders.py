"""Compares the decoders with libvips and ImageMagick, file by file, on folders of picture files.

    apt-get install imagemagick
    python bench/compare_decoders.py FOLDER [FOLDER...] [--list disagreements.json] [--limit 1.5] [--timeout 60]

Good folders are the test suites of image libraries; each folder is a row of the table. The first page of a file is decoded by
`models.imaging.Document`, and by two judges from its content alone: by libvips with all loaders it has, and by ImageMagick. Each
has a process of its own that is killed after the timeout, so that a crash or a hang is counted and the run goes on. The judges turn
the picture upright, convert it to sRGB by its ICC profile, drop alpha, and make 8 bits of gray of it as Pillow does. A file

- agrees, if it has the size and, within the limits, the levels that at least one judge finds;
- differs, if that is true of none of the judges that read it;
- is damaged, if it is refused, and each judge that reads it warns about damage;
- is unsupported, if it is refused with the message that its format or kind cannot be read, though a judge can;
- is refused, if it is so without these reasons;
- is read alone, if no judge reads it; refused by all, if nobody does; crashed, if there was an exception that is no refusal.

The share is that of the agreeing files among those that agree, differ, are refused, crash or hang. The differences, sizes and
messages go to the list, except of files that agree with all judges that read them (those that agree with one alone are disputed:
libvips is a judge that shares the code of our PNG and TIFF), or that are refused by all. Of files with the same content, the first
counts. The exit status is 1 if there was a crash or a hang.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.errors import NotAPicture, PictureError
from models.imaging import Document

Gray = NDArray[np.uint8]

AGREES, DIFFERS, REFUSED, DAMAGED, UNSUPPORTED = "agrees", "differs", "refused", "damaged", "unsupported"
ALONE, BY_ALL, CRASH, HANG = "read alone", "refused by all", "crash", "hang"
KINDS = (AGREES, DIFFERS, REFUSED, DAMAGED, UNSUPPORTED, ALONE, BY_ALL, CRASH, HANG)
DAMAGE = re.compile("corrupt|premature|truncat|extraneous|inconsistent|non.?conformant|not end with|out of order", re.IGNORECASE)
KIND_IS_UNSUPPORTED = "cannot be read: "  # of messages; after damage they go on with a reason in brackets
CELLS = 16  # along each side, of the grid in which the worst cell is sought
IMAGEMAGICK = ("magick", "convert-im6.q16", "convert")  # version 7, and Debian's name of 6: other programs are called convert too


@dataclass(frozen=True)
class Outcome:
    """What a decoder made of a file: a gray picture, or a failure (refused, unsupported, crash or hang); and its message."""

    gray: Gray | None = None
    failure: str = ""
    message: str = ""


class Worker:
    """A process that applies a function to the content of files; it is replaced if it crashes or hangs."""

    def __init__(self, function: Callable[[bytes], Outcome]) -> None:
        self._function = function
        self._start()

    def send(self, content: bytes) -> None:
        """Begin with a file."""
        self._connection.send(content)

    def receive(self, deadline: float) -> Outcome:
        """The outcome of the file."""
        failure = HANG
        try:
            if self._connection.poll(max(0.0, deadline - time.monotonic())):
                outcome: Outcome = self._connection.recv()
                return outcome
        except (EOFError, OSError):
            failure = CRASH
        self.stop()
        message = f"exit code {self._process.exitcode}" if failure == CRASH else ""
        self._start()
        return Outcome(failure=failure, message=message)

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # libraries with threads do not survive a fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(self._function, other), daemon=True)
        self._process.start()
        other.close()


def serve(function: Callable[[bytes], Outcome], connection: Any) -> None:
    """Answer the files that come over a connection."""
    while True:
        content = connection.recv()
        try:
            outcome = function(content)
        except Exception as error:  # whatever it is, it must be counted
            outcome = Outcome(failure=CRASH, message=f"{type(error).__name__}: {error}")
        connection.send(outcome)


def decode(content: bytes) -> Outcome:
    """Decode by the code under test."""
    try:
        return Outcome(Document(content).decode(1).luma)
    except PictureError as error:
        is_unsupported = isinstance(error, NotAPicture) or KIND_IS_UNSUPPORTED in str(error)
        return Outcome(failure=UNSUPPORTED if is_unsupported else REFUSED, message=str(error))


def decode_by_libvips(content: bytes) -> Outcome:
    """Decode by libvips."""
    import pyvips  # here, because the process of the code under test blocks loaders

    warning = ""
    for strictness in ("warning", "error"):
        try:
            image = pyvips.Image.new_from_buffer(content, "", fail_on=strictness).copy_memory()
            break
        except pyvips.Error as error:
            warning = " ".join(str(error).split())
    else:
        return Outcome(failure=REFUSED, message=warning)
    image = image.autorot()
    if image.get_typeof("icc-profile-data"):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="perceptual").copy_memory()
        except pyvips.Error:  # the profile is damaged, or of another color model
            image.remove("icc-profile-data")
    image = image.colourspace("srgb").cast("uchar")
    pixels = image.numpy().reshape(image.height, image.width, image.bands)
    rgb = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    return Outcome(np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L")), message=warning)


def decode_by_imagemagick(command: str, profile: Path, content: bytes, timeout: float) -> Outcome:
    """Decode by ImageMagick. What it writes with an error is no picture; with a warning, it is one."""
    steps = ("-auto-orient", "-profile", str(profile), "-colorspace", "sRGB", "-alpha", "off", "-depth", "8", "ppm:-")
    environment = os.environ | {"MAGICK_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run((command, "-[0]", *steps), input=content, capture_output=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        return Outcome(failure=HANG)
    message = " ".join(done.stderr.decode(errors="replace").split())
    if done.returncode or not done.stdout:
        return Outcome(failure=REFUSED, message=message)
    with Image.open(io.BytesIO(done.stdout), formats=("PPM",)) as image:
        return Outcome(np.asarray(image.convert("RGB").convert("L")), message=message)


def difference(first: Gray | None, second: Gray | None) -> tuple[float, float] | None:
    """The mean absolute difference of two pictures, and that of their worst cell; None if they cannot be compared."""
    if first is None or second is None or first.shape != second.shape:
        return None
    delta = np.abs(first.astype(np.int16) - second)
    cells = (cell for band in np.array_split(delta, CELLS) for cell in np.array_split(band, CELLS, axis=1) if cell.size)
    return float(delta.mean()), max(float(cell.mean()) for cell in cells)


def compare(ours: Outcome, judges: dict[str, Outcome], limit: float, cell_limit: float) -> dict[str, Any]:
    """The class of a file, and how it differs from each judge."""
    differences = {name: difference(ours.gray, judge.gray) for name, judge in judges.items()}
    readers = {name: judge for name, judge in judges.items() if judge.gray is not None}
    agreeing = [name for name, both in differences.items() if both and both[0] <= limit and both[1] <= cell_limit]
    if ours.failure in (CRASH, HANG):
        kind = ours.failure
    elif not readers:
        kind = ALONE if ours.gray is not None else BY_ALL
    elif ours.gray is None:
        kind = DAMAGED if all(DAMAGE.search(judge.message) for judge in readers.values()) else ours.failure
    else:
        kind = AGREES if agreeing else DIFFERS
    described: dict[str, dict[str, Any]] = {}
    for name, outcome in {"ours": ours, **judges}.items():
        size = None if outcome.gray is None else outcome.gray.shape[::-1]
        described[name] = {"size": size, "failure": outcome.failure, "message": outcome.message[:300]}
        if both := differences.get(name):
            described[name] |= {"difference": both[0], "worst cell": both[1]}
    return {"class": kind, "disputed": kind == AGREES and len(agreeing) < len(readers), **described}


def files_of(folder: Path, seen: set[bytes]) -> Iterator[tuple[Path, bytes]]:
    """The files of a folder and their content, without those whose content was seen."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        if content and digest not in seen:
            seen.add(digest)
            yield path, content


def row(name: str, counts: Counter[str], seconds: float) -> str:
    """A row of the table."""
    judged = counts[AGREES] + counts[DIFFERS] + counts[REFUSED] + counts[CRASH] + counts[HANG]
    share = f"{counts[AGREES] / judged:.1%}" if judged else "-"
    cells = (name, sum(counts.values()), *(counts[kind] for kind in KINDS), share, f"{seconds:.0f}")
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--list", type=Path, help="JSON file for the files that do not agree")
    parser.add_argument("--limit", type=float, default=1.5, help="mean absolute difference of files that agree, of 255 levels")
    parser.add_argument("--cell-limit", type=float, default=16, help="the same in the worst of 16 x 16 cells of the picture")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each decoder and file")
    parser.add_argument("--imagemagick", help=f"the program; by default the first found of {', '.join(IMAGEMAGICK)}")
    arguments = parser.parse_args()
    command = arguments.imagemagick or next(filter(None, map(shutil.which, IMAGEMAGICK)), None)
    if command is None:
        parser.error("ImageMagick is not installed: apt-get install imagemagick, or name the program with --imagemagick")

    workers = {"ours": Worker(decode), "libvips": Worker(decode_by_libvips)}
    total, seen, listed, start = Counter[str](), set[bytes](), [], time.monotonic()
    print(f"| folder | files | {' | '.join(KINDS)} | share | s |\n| --- {'| ---: ' * (len(KINDS) + 3)}|")
    with tempfile.TemporaryDirectory() as temporary:
        profile = Path(temporary) / "srgb.icc"
        profile.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for folder in arguments.folders:
            counts, began = Counter[str](), time.monotonic()
            for path, content in files_of(folder, seen):
                deadline = time.monotonic() + arguments.timeout
                for worker in workers.values():
                    worker.send(content)
                magick = decode_by_imagemagick(command, profile, content, arguments.timeout)
                ours, vips = (worker.receive(deadline) for worker in workers.values())
                judged = compare(ours, {"libvips": vips, "ImageMagick": magick}, arguments.limit, arguments.cell_limit)
                counts[judged["class"]] += 1
                if judged["disputed"] or judged["class"] not in (AGREES, BY_ALL):
                    listed.append({"file": str(path), **judged})
            print(row(folder.name, counts, time.monotonic() - began), flush=True)
            total += counts
            if arguments.list:
                arguments.list.write_text(json.dumps(listed, indent=1))
    print(row("all", total, time.monotonic() - start))
    for worker in workers.values():
        worker.stop()
    sys.exit(1 if total[CRASH] or total[HANG] else 0)


if __name__ == "__main__":
    main()
