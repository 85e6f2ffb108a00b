"""Collects photographs for named categories: unavailable, broken, gray, small and duplicated ones are replaced by others.

Paper 003, section III.A, took a thousand per category from a photo site; paper 004, section 2.1, sampled the URL lists of ImageNet
and replaced unavailable pictures. What differs from 003: public APIs instead of a scripted browser, and license and author are
recorded.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image

from models.atomic_files import replace_file
from training.collect.http_client import FetchError, RateLimitedClient
from training.collect.sources import Photo, Source, one_line
from training.data.dataset_index import SPLITS, DataError
from training.data.prepare import examine

RECORD, REJECTED = "collected.csv", "rejected.csv"
EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}
MAX_HASH_DISTANCE = 4  # of 64 bits, up to which two pictures count as copies


@dataclass(frozen=True)
class Collected:
    """A row of `collected.csv`: a picture with license and author; `path` is relative to the folder."""

    path: str
    category: str
    id: str
    title: str
    author: str
    license: str
    license_url: str
    page: str
    url: str
    width: int
    height: int
    sha256: str
    perceptual_hash: str


@dataclass(frozen=True)
class Rejected:
    """A row of `rejected.csv`: a picture that was not kept, and the reason; it is not downloaded again."""

    category: str
    id: str
    url: str
    reason: str


class Collection:
    """A folder of categories with its two records, which are read when it is opened, so that collecting can be continued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = _read(folder / RECORD, Collected)
        kept = [Collected(**{**row, "width": int(row["width"]), "height": int(row["height"])}) for row in rows]
        self.rejected = [Rejected(**row) for row in _read(folder / REJECTED, Rejected)]
        self.kept = [row for row in kept if (folder / row.path).is_file()]
        self._known = {(row.category, row.id) for row in self.kept} | {(row.category, row.id) for row in self.rejected}
        self._contents = {row.sha256 for row in self.kept}
        self._hashes = {int(row.perceptual_hash, 16) for row in self.kept}

    def count(self, category: str) -> int:
        """The number of pictures of a category."""
        return sum(row.category == category for row in self.kept)

    def grow(
        self, category: str, count: int, photos: Iterator[Photo], client: RateLimitedClient, min_side: int
    ) -> Iterator[Collected | Rejected]:
        """Add pictures of a category until there are `count` or the source has no more; yields every decision."""
        while self.count(category) < count and (photo := next(photos, None)) is not None:
            if (category, photo.id) not in self._known:
                self._known.add((category, photo.id))
                yield self._decide(category, photo, client, min_side)

    def _decide(self, category: str, photo: Photo, client: RateLimitedClient, min_side: int) -> Collected | Rejected:
        try:
            content = client.picture(photo.url)
        except FetchError as error:
            return self._reject(category, photo, one_line(error))
        (width, height), reason = examine(content, min_side)
        if reason:
            return self._reject(category, photo, reason)
        sha256, hash_ = hashlib.sha256(content).hexdigest(), difference_hash(content)
        if sha256 in self._contents or any((hash_ ^ other).bit_count() <= MAX_HASH_DISTANCE for other in self._hashes):
            return self._reject(category, photo, "duplicated")
        kind = Image.open(io.BytesIO(content)).format
        if kind not in EXTENSIONS:
            return self._reject(category, photo, "unsupported format")
        path = f"{category}/{sha256[:16]}{EXTENSIONS[kind]}"
        row = Collected(path, category, photo.id, photo.title, photo.author, photo.license, photo.license_url, photo.page,
                        photo.url, width, height, sha256, f"{hash_:016x}")  # fmt: skip
        replace_file(self.folder / path, content)
        _append(self.folder / RECORD, row)
        self.kept.append(row)
        self._contents.add(sha256)
        self._hashes.add(hash_)
        if photo.kept is not None:
            with suppress(FetchError):  # the picture is saved, even if the source cannot be notified
                photo.kept()
        return row

    def _reject(self, category: str, photo: Photo, reason: str) -> Rejected:
        row = Rejected(category, photo.id, photo.url, reason)
        _append(self.folder / REJECTED, row)
        self.rejected.append(row)
        return row


def collect(
    wanted: Sequence[tuple[str, str]], count: int, folder: Path, source: Source, client: RateLimitedClient, min_side: int = 256
) -> Iterator[Collected | Rejected]:
    """Collect pictures until `folder` contains `count` of each of the `wanted` (category, query).

    Raises:
        DataError: the name of a category is not a valid folder name; or too few pictures were found after all categories were
            tried, with the errors of the source.
    """
    for category, _ in wanted:
        if not category or category.startswith(".") or any(sign in category for sign in "/\\\0") or category in SPLITS:
            raise DataError(f"the category {category!r} is not a valid folder name: give letters, digits, - and _.")
    collection = Collection(folder)
    errors = []
    for category, query in wanted:
        try:
            yield from collection.grow(category, count, source(client, query), client, min_side)
        except FetchError as error:
            errors.append(f" {error}")
    short = [f"{category} {kept}" for category, _ in wanted if (kept := collection.count(category)) < count]
    if short:
        raise DataError(
            f"the source has no more pictures: {count} of each were requested, and there are {', '.join(short)}. "
            f"Try another query: NAME=QUERY.{''.join(errors)}"
        )


def difference_hash(content: bytes) -> int:
    """A difference hash of 64 bits, which differs in a few bits between copies in other sizes or qualities."""
    small = Image.open(io.BytesIO(content)).convert("L").resize((9, 8), Image.Resampling.BOX)
    levels = list(small.tobytes())
    bits = [levels[9 * y + x] < levels[9 * y + x + 1] for y in range(8) for x in range(8)]
    return sum(bit << position for position, bit in enumerate(bits))


def _read(path: Path, kind: type) -> list[dict[str, Any]]:
    """The rows of a record; a last row that a crash truncated is removed from the file."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        replace_file(path, content[: content.rfind(b"\n") + 1])
    names = [field.name for field in fields(kind)]
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is not None:  # the column had another name before version 0.2
            reader.fieldnames = ["perceptual_hash" if name == "look" else name for name in reader.fieldnames]
        rows = [row for row in reader if list(row) == names and None not in row.values()]
    return [row for row in rows if all(row[name].isdigit() for name in ("width", "height") if name in row)]


def _append(path: Path, row: Collected | Rejected) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.is_file() or not path.stat().st_size
    with path.open("a", newline="") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(row)], lineterminator="\n")
        if fresh:
            rows.writeheader()
        rows.writerow(asdict(row))
