"""Make a manifest of a folder of categories or of tar shards, setting aside what cannot be trained on."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from training.data.manifest import MEMBER, SPLITS, UNSEEN, DataError, Entry, read_shard, shard_names, split_by_content
from training.data.packs import decode_rgb

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
MIN_SIDE = 32
MIN_CHROMA = 2.0  # mean distance of a pixel's channels from their mean, of 255: below it a picture is gray


@dataclass
class Prepared:
    """The entries that can be used, and the path of everything that was set aside, by reason."""

    entries: list[Entry] = field(default_factory=list)
    set_aside: dict[str, list[str]] = field(default_factory=dict)

    def summary(self) -> str:
        """Counts by set and split, and what was set aside and why."""
        counts = Counter((entry.set, entry.split) for entry in self.entries)
        lines = [f"{name} {split}: {count}" for (name, split), count in sorted(counts.items())]
        lines += [f"set aside, {reason}: {len(paths)} ({paths[0]} ...)" for reason, paths in sorted(self.set_aside.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class Candidate:
    """A picture that was found; `split` is empty where the content decides."""

    path: str
    set: str
    split: str
    category: str
    content: bytes


def prepare(source: Path, split: str = "") -> Prepared:
    """The manifest of `source`.

    That is a folder with a folder for each category; or with `train`, `val` and `test` and the categories in them, or a tar archive
    of such; or with tar shards and their `manifest.csv`. Where there is no `val`, it is half of `test`, by content.

    Every picture is decoded once. Unreadable, tiny (a side under 32 px), gray and duplicated pictures are set aside. The split of
    a shard's picture is the one its own manifest gives; otherwise `split`, or, where that is empty, the content decides.

    Raises:
        DataError: `source` is no folder or holds no pictures, or there is no such split.
    """
    if split and split not in SPLITS:
        raise DataError(f"there is no split {split!r}: give one of {', '.join(SPLITS)}, or none and the content decides.")
    if not source.exists():
        raise DataError(f"there is no folder or archive {source}: give one with a folder of pictures for each category.")
    source = source.resolve()
    shards, splits = (source / "manifest.csv").is_file(), source.is_file() or _has_splits(source)
    if split and (shards or splits):
        raise DataError(f"{source} says itself which split a picture is in: leave --split away.")
    found = _in_shards(source) if shards else _in_splits(source) if splits else _in_folders(source, split)
    prepared, seen = Prepared(), set()
    with ThreadPoolExecutor() as pool:
        while chunk := list(islice(found, 256)):  # in chunks, so that a large set is never in memory as a whole
            for entry, reason in pool.map(_examine, chunk):
                reason = reason or ("duplicated" if entry.sha256 in seen else "")
                if reason:
                    prepared.set_aside.setdefault(reason, []).append(entry.path)
                else:
                    seen.add(entry.sha256)
                    prepared.entries.append(entry)
    if not prepared.entries:
        raise DataError(f"{source} holds no usable picture: put {', '.join(sorted(SUFFIXES))} files into a folder a category.")
    return prepared


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
            f"{source} has the folders {', '.join(sorted(splits))}, and beside them {', '.join(sorted(folders - splits))}: "
            "put the categories into the splits, or the splits elsewhere."
        )
    return bool(splits) and not folders - splits


def _in_splits(source: Path) -> Iterator[Candidate]:
    """Pictures under `SPLIT/CATEGORY/`, in a folder or a tar archive."""
    if source.is_file():
        found = ((name, f"{source}{MEMBER}{name}", content) for name, content in read_shard(source))
        has_val = any(name.startswith("val/") for name in shard_names(source))
    else:
        paths = [path for split in ("train", "val", "test") for path in sorted((source / split).glob("*/**/*")) if path.is_file()]
        found = ((str(path.relative_to(source)), str(path), path.read_bytes()) for path in paths)
        has_val = (source / "val").is_dir()
    for name, path, content in found:
        split, category, *_ = [*Path(name).parts, "", ""]
        if split not in ("train", "val", "test"):
            raise DataError(f"{source} has {name}: put every picture under train, val or test, and then its category.")
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
    """The candidate as an entry, and the reason to set it aside, if there is one."""
    sha256 = hashlib.sha256(candidate.content).hexdigest()
    size, reason = examine(candidate.content)
    if Path(candidate.path).suffix.lower() not in SUFFIXES:
        reason = "of another kind"
    split = "unseen" if candidate.category in UNSEEN else candidate.split or split_by_content(sha256)
    return Entry(candidate.path, candidate.set, split, candidate.category, *size, sha256), reason


def examine(content: bytes, min_side: int = MIN_SIDE) -> tuple[tuple[int, int], str]:
    """Width and height of a picture, and the reason why it cannot be trained on, empty if it can."""
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
