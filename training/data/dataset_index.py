"""The dataset index: a CSV file with every picture of a dataset, its category and its split."""

import csv
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from lzma import LZMAError
from pathlib import Path
from typing import Any

from models.atomic_files import replace_file
from models.errors import ChromarouteError

SPLITS = ("train", "val", "test", "unseen")
MEMBER = "::"  # between a tar shard and its member

# The classes of Tiny ImageNet that are never trained on, to test on unseen categories: `tiny-unseen`.
UNSEEN = frozenset(
    {
        "n01698640", "n01917289", "n02085620", "n02129165", "n02279972", "n02480495", "n02769748", "n02823428", "n02948072",
        "n03089624", "n03393912", "n03637318", "n03814639", "n03977966", "n04118538", "n04285008", "n04456115", "n04562935",
        "n07715103", "n07920052",
    }
)  # fmt: skip


class DataError(ChromarouteError):
    """A dataset index, a folder or a shard cannot be used."""


@dataclass(frozen=True)
class Entry:
    """One picture: its path (of a file, or `shard.tar::member`), set, split, category, size in pixels, and sha256."""

    path: str
    set: str
    split: str
    category: str
    width: int
    height: int
    sha256: str

    @property
    def kind(self) -> str:
        """SET/CATEGORY: sets may use the same name for different categories."""
        return f"{self.set}/{self.category}"

    @property
    def name(self) -> str:
        """The member of the shard, or the last two parts of the path: a name that does not reveal the machine."""
        shard, separator, member = self.path.partition(MEMBER)
        return member if separator else "/".join(Path(shard).parts[-2:])


def split_by_content(sha256: str) -> str:
    """`train`, `val` or `test` with shares of 90, 5 and 5, derived from the content, so that copies are in the same split."""
    share = int(sha256[:8], 16) % 100
    return "train" if share < 90 else "val" if share < 95 else "test"


def read_index(path: Path) -> list[Entry]:
    """All entries of a dataset index.

    Raises:
        DataError: there is no such file, it is not a dataset index, or it has an unknown split.
    """
    if not path.is_file():
        raise DataError(f"there is no dataset index {path}: create one with `chromaroute-train prepare FOLDER --out {path}`.")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        columns = [field.name for field in fields(Entry)]
        if rows.fieldnames != columns:
            raise DataError(f"{path} has the columns {rows.fieldnames}: a dataset index has {columns}.")
        try:
            entries = [_entry(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise DataError(f"line {rows.line_num} of {path} is not valid: {error}. Run `prepare` again.") from error
    if unknown := {entry.split for entry in entries} - set(SPLITS):
        raise DataError(f"{path} has the splits {sorted(unknown)}: give {', '.join(SPLITS)}.")
    return entries


def write_index(entries: Iterable[Entry], path: Path) -> None:
    """Write a dataset index atomically."""
    text = io.StringIO()
    rows = csv.DictWriter(text, [field.name for field in fields(Entry)], lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(entry) for entry in entries)
    replace_file(path, text.getvalue().encode())


def write_excluded(excluded: Mapping[str, Sequence[str]], index: Path) -> None:
    """List the files that are excluded from a dataset index, with the reasons, in a file beside it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([("reason", "path"), *((reason, path) for reason, paths in sorted(excluded.items()) for path in paths)])
    replace_file(_excluded_path(index), text.getvalue().encode())


def read_excluded(index: Path) -> list[dict[str, str]]:
    """`reason` and `path` of the files that are excluded from a dataset index; empty if they are not known."""
    path = _excluded_path(index)
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**{**row, "width": int(row["width"]), "height": int(row["height"])})


def _excluded_path(index: Path) -> Path:
    return index.with_suffix(".excluded.csv")


def digest(entries: Iterable[Entry]) -> str:
    """A sha256 over contents, sets, splits and categories of the entries, independent of their order: identifies a dataset."""
    lines = sorted(f"{entry.sha256} {entry.set} {entry.split} {entry.category}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_pictures(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Each entry with the bytes of its file. Every shard is opened once, so the order is that of the shards, not of the entries.

    Raises:
        DataError: a file or a member does not exist.
    """
    shards: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        shard, separator, member = entry.path.partition(MEMBER)
        if separator:
            shards.setdefault(shard, {})[member] = entry
            continue
        try:
            yield entry, Path(entry.path).read_bytes()
        except OSError as error:
            raise DataError(f"the picture {entry.path} of the index cannot be read: {error}. Run `prepare` again.") from error
    for shard, members in shards.items():
        for name, content in read_shard(Path(shard)):
            if wanted := members.pop(name, None):
                yield wanted, content
        if members:
            raise DataError(f"{shard} lacks {len(members)} pictures of the index, such as {next(iter(members))}.")


def shard_names(shard: Path) -> list[str]:
    """The names of the files in a tar shard.

    Raises:
        DataError: the shard is missing, or is not a tar file.
    """
    with _opened(shard) as tar:
        return [member.name for member in tar if member.isfile()]


def read_shard(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file in a tar shard.

    Raises:
        DataError: the shard is missing, or is not a tar file.
    """
    with _opened(shard) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                yield member.name, file.read()


@contextmanager
def _opened(shard: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(shard) as tar:
            yield tar
    except (OSError, EOFError, tarfile.TarError, LZMAError, zlib.error) as error:
        raise DataError(f"the shard {shard} cannot be read: {error}.") from error
