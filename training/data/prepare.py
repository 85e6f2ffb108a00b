"""Creates the dataset index of a folder of categories or of tar shards, excluding pictures that cannot be trained on."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from training.data.dataset_index import MEMBER, SPLITS, UNSEEN, DataError, Entry, read_shard, shard_names, split_by_content
from training.data.packs import decode_rgb

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
MIN_SIDE = 32
MIN_CHROMA = 2.0  # mean distance of the channels of a pixel from their mean, of 255; pictures below it are gray


@dataclass
class Prepared:
    """The entries of a dataset index, and the paths of excluded files by reason."""

    entries: list[Entry] = field(default_factory=list)
    excluded: dict[str, list[str]] = field(default_factory=dict)

    def summary(self) -> str:
        """Counts by set and split, and excluded files by reason."""
        counts = Counter((entry.set, entry.split) for entry in self.entries)
        lines = [f"{name} {split}: {count}" for (name, split), count in sorted(counts.items())]
        lines += [f"excluded, {reason}: {len(paths)} ({paths[0]} ...)" for reason, paths in sorted(self.excluded.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class Candidate:
    """A file that may become an entry; an empty `split` is derived from the content."""

    path: str
    set: str
    split: str
    category: str
    content: bytes


def prepare(*sources: Path, split: str = "", limit: int = 0) -> Prepared:
    """The entries of `sources`.

    A source is a folder with a folder for each category; a folder with `train`, `val` and `test` and the categories in them, or a
    tar archive of that; or a folder with tar shards and their `manifest.csv`. Without `val`, half of `test` is used for it, by
    content. With a `limit`, only so many pictures of each set, split and category are examined.

    Every picture is decoded once. Files of other formats, and unreadable, tiny (a side under 32 px), gray and duplicated pictures
    are excluded. Shards and folders with splits define the split of each picture; otherwise it is `split`, or derived from the
    content if that is empty.

    Raises:
        DataError: a source does not exist, none contains pictures, or there is no such split.
    """
    if split and split not in SPLITS:
        raise DataError(f"there is no split {split!r}: give one of {', '.join(SPLITS)}, or none to derive it from the content.")
    found = [_candidates(source, split) for source in sources]  # checks all of them before the first is read
    candidates = _limited(chain.from_iterable(found), limit) if limit else chain.from_iterable(found)
    prepared, seen = Prepared(), set()
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(candidates, 256)):  # in chunks, to bound the memory
            for entry, reason in pool.map(_examine, chunk):
                reason = reason or ("duplicated" if entry.sha256 in seen else "")
                if reason:
                    prepared.excluded.setdefault(reason, []).append(entry.path)
                else:
                    seen.add(entry.sha256)
                    prepared.entries.append(entry)
    if not prepared.entries:
        names, suffixes = ", ".join(map(str, sources)), ", ".join(sorted(SUFFIXES))
        raise DataError(f"{names} has no usable pictures: put {suffixes} files in one folder per category.")
    return prepared


def _candidates(source: Path, split: str) -> Iterator[Candidate]:
    if not source.exists():
        raise DataError(f"there is no folder or archive {source}: give one with a folder of pictures for each category.")
    source = source.resolve()
    shards, splits = (source / "manifest.csv").is_file(), source.is_file() or _has_splits(source)
    if split and (shards or splits):
        raise DataError(f"{source} defines the split of each picture itself: omit --split.")
    return _in_shards(source) if shards else _in_splits(source) if splits else _in_folders(source, split)


def _limited(candidates: Iterator[Candidate], limit: int) -> Iterator[Candidate]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for candidate in candidates:
        group = candidate.set, candidate.split, candidate.category
        counts[group] += 1
        if counts[group] <= limit:
            yield candidate


def _in_folders(source: Path, split: str) -> Iterator[Candidate]:
    for path in sorted(set(source.glob("*/**/*"))):
        if path.is_file() and not path.name.startswith("."):
            category = path.relative_to(source).parts[0]
            content = path.read_bytes() if path.suffix.lower() in SUFFIXES else b""
            yield Candidate(str(path), source.name, split, category, content)


def _has_splits(source: Path) -> bool:
    folders = {path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    splits = folders & {"train", "val", "test"}
    if len(splits) > 1 and folders - splits:
        raise DataError(
            f"{source} has the folders {', '.join(sorted(splits))} and also {', '.join(sorted(folders - splits))}: "
            "move the categories into the splits, or the splits elsewhere."
        )
    return bool(splits) and not folders - splits


def _in_splits(source: Path) -> Iterator[Candidate]:
    """Pictures under `SPLIT/CATEGORY/`, in a folder or a tar archive."""
    if source.is_file():
        files = ((name, f"{source}{MEMBER}{name}", content) for name, content in read_shard(source))
        has_val = any(name.startswith("val/") for name in shard_names(source))
    else:
        paths = [path for split in ("train", "val", "test") for path in sorted((source / split).glob("*/**/*")) if path.is_file()]
        files = ((str(path.relative_to(source)), str(path), path.read_bytes()) for path in paths)
        has_val = (source / "val").is_dir()
    for name, path, content in files:
        split, category, *_ = [*Path(name).parts, "", ""]
        if split not in ("train", "val", "test"):
            raise DataError(f"{source} has {name}: put every picture into a folder of its category in train, val or test.")
        if not Path(name).name.startswith("."):
            if split == "test" and not has_val and int(hashlib.sha256(content).hexdigest()[:8], 16) % 2:
                split = "val"
            yield Candidate(path, source.name.partition(".")[0], split, category, content)


def _in_shards(source: Path) -> Iterator[Candidate]:
    with (source / "manifest.csv").open(newline="") as file:
        rows = {(row["shard"], row["member"]): row for row in csv.DictReader(file)}
    for shard in sorted({shard for shard, _ in rows}):
        for member, content in read_shard(source / shard):
            if row := rows.pop((shard, member), None):
                yield Candidate(f"{source / shard}{MEMBER}{member}", row["set"], row["split"], row["category"], content)
    for (shard, member), row in rows.items():
        yield Candidate(f"{source / shard}{MEMBER}{member}", row["set"], row["split"], row["category"], b"")


def _examine(candidate: Candidate) -> tuple[Entry, str]:
    """The candidate as an entry, and the reason to exclude it, or an empty string."""
    sha256 = hashlib.sha256(candidate.content).hexdigest()
    size, reason = examine(candidate.content)
    if Path(candidate.path).suffix.lower() not in SUFFIXES:
        reason = "unsupported format"
    split = "unseen" if candidate.category in UNSEEN else candidate.split or split_by_content(sha256)
    return Entry(candidate.path, candidate.set, split, candidate.category, *size, sha256), reason


def examine(content: bytes, min_side: int = MIN_SIDE) -> tuple[tuple[int, int], str]:
    """Width and height of a picture, and the reason why it cannot be trained on, or an empty string."""
    try:
        pixels = decode_rgb(content)
    except DataError:
        return (0, 0), "unreadable" if content else "empty or missing"
    size = pixels.shape[1], pixels.shape[0]
    if min(size) < min_side:
        return size, "tiny"
    levels = pixels.astype(np.int16)
    if np.abs(levels - levels.mean(axis=2, keepdims=True)).mean() < MIN_CHROMA:
        return size, "gray"
    return size, ""
