"""Compares the decoders with libvips and ImageMagick, file by file, on folders of picture files.

    apt-get install imagemagick
    python bench/compare_decoders.py FOLDER [FOLDER...] [--list disagreements.json] [--limit 1.5] [--timeout 60]

Good folders are the test suites of image libraries: each folder is a row of the table. The first page of each file is decoded by
`models.imaging.Document`, and by the two judges from its content alone: by libvips with all loaders it has, and by ImageMagick. Each
works in a process of its own that is killed after the timeout, so that a crash or a hang is counted and the run goes on. The judges
turn the picture upright, convert it to sRGB by its ICC profile, drop alpha, and convert it to gray of 8 bits as Pillow does. A file

- agrees, if it has the size and, within the limits, the levels that at least one judge finds;
- differs, if it does so with none of the judges that read it;
- is refused, if a judge reads it: by mistake, or because a judge tolerates damage; its format may be unsupported on purpose;
- is read alone, if no judge reads it; refused by all, if nobody reads it; crashed, if there was an exception that is no refusal.

The table goes to the standard output, and every file that does not agree, with differences, sizes and messages, to the list. Files
with the same content are compared once. The exit status is 1 if a file crashed or hung.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.errors import NotAPicture, PictureError
from models.imaging import MAX_PIXELS, Document

Gray = NDArray[np.uint8]

AGREES, DIFFERS, REFUSED, UNSUPPORTED = "agrees", "differs", "refused", "unsupported"
ALONE, BY_ALL, CRASH, HANG = "read alone", "refused by all", "crash", "hang"
CELLS = 16  # along each side, of the grid in which the worst cell is sought

# ImageMagick 7, then Debian's name of version 6, because other programs are called convert as well
IMAGEMAGICK = ("magick", "convert-im6.q16", "convert")


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
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(self._function, other), daemon=True)
        self._process.start()
        other.close()


def serve(function: Callable[[bytes], Outcome], connection: Connection) -> None:
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
        return Outcome(Document(content, MAX_PIXELS).decode(1).luma)
    except PictureError as error:
        return Outcome(failure=UNSUPPORTED if isinstance(error, NotAPicture) else REFUSED, message=str(error))


def decode_by_libvips(content: bytes) -> Outcome:
    """Decode by libvips."""
    import pyvips  # here, because the process of the code under test blocks loaders

    try:
        image = pyvips.Image.new_from_buffer(content, "", fail_on="error").copy_memory().autorot()
        if image.get_typeof("icc-profile-data"):
            try:
                image = image.icc_transform("srgb", embedded=True, intent="perceptual").copy_memory()
            except pyvips.Error:  # the profile is damaged, or of another color model
                image.remove("icc-profile-data")
        image = image.colourspace("srgb").cast("uchar")
        pixels = image.numpy().reshape(image.height, image.width, image.bands)
    except pyvips.Error as error:
        return Outcome(failure=REFUSED, message=" ".join(str(error).split()))
    rgb = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    return Outcome(np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L")))


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
    is_readable = any(judge.gray is not None for judge in judges.values())
    if ours.failure in (CRASH, HANG):
        kind = ours.failure
    elif ours.gray is None:
        kind = ours.failure if is_readable else BY_ALL
    elif not is_readable:
        kind = ALONE
    else:
        within = [both for both in differences.values() if both and both[0] <= limit and both[1] <= cell_limit]
        kind = AGREES if within else DIFFERS
    described = {
        name: {
            "size": None if outcome.gray is None else list(outcome.gray.shape[::-1]),
            "failure": outcome.failure,
            "message": outcome.message[:300],
            **({"difference": both[0], "worst cell": both[1]} if (both := differences.get(name)) else {}),
        }
        for name, outcome in {"ours": ours, **judges}.items()
    }
    return {"class": kind, **described}


def files_of(folder: Path, seen: set[bytes]) -> Iterator[tuple[Path, bytes]]:
    """The files of a folder and their content, without those whose content was seen."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        if content and digest not in seen:
            seen.add(digest)
            yield path, content


def row(name: str, counts: Counter[str], seconds: float) -> str:
    """A row of the table. The share is that of the files which a judge reads and whose format is supported."""
    files = sum(counts.values())
    readable = counts[AGREES] + counts[DIFFERS] + counts[REFUSED] + counts[CRASH] + counts[HANG]
    share = f"{counts[AGREES] / readable:.1%}" if readable else "-"
    read = counts[AGREES] + counts[DIFFERS] + counts[ALONE]
    kinds = (AGREES, DIFFERS, REFUSED, ALONE, BY_ALL, UNSUPPORTED, CRASH, HANG)
    return f"| {name} | {files} | {read} | {' | '.join(str(counts[kind]) for kind in kinds)} | {share} | {seconds:.0f} |"


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--list", type=Path, help="JSON file for the files that do not agree")
    parser.add_argument("--limit", type=float, default=1.5, help="mean absolute difference of files that agree, in levels of 255")
    parser.add_argument("--cell-limit", type=float, default=16, help="the same in the worst of 16 x 16 cells of the picture")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each decoder and file")
    parser.add_argument("--imagemagick", help=f"the program; by default the first found of {', '.join(IMAGEMAGICK)}")
    arguments = parser.parse_args()
    command = arguments.imagemagick or next(filter(None, map(shutil.which, IMAGEMAGICK)), None)
    if command is None:
        parser.error("ImageMagick is not installed: apt-get install imagemagick, or name the program with --imagemagick")

    workers = {"ours": Worker(decode), "libvips": Worker(decode_by_libvips)}
    total, seen, listed, start = Counter[str](), set[bytes](), [], time.monotonic()
    print(
        "| folder | files | read | agree | differ | refused | read alone | refused by all | unsupported | crash | hang | share | s |"
    )
    print("| --- " + "| ---: " * 12 + "|")
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
                if judged["class"] != AGREES:
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
