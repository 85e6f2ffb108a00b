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

from training.data.manifest import MEMBER, SPLITS, UNSEEN, DataError, Entry, read_shard, split_by_content
from training.data.packs import decode_rgb

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
MIN_SIDE = 32
MIN_CHROMA = 2.0  # mean distance of a pixel's channels from their mean, of 255: below it a picture is grey


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
    """The manifest of `source`: shards if there is a `manifest.csv` and tar files in it, else one folder a category.

    Every picture is decoded once. Unreadable, tiny (a side under 32 px), grey and duplicated pictures are set aside. The split of
    a shard's picture is the one its own manifest gives; otherwise `split`, or, where that is empty, the content decides.

    Raises:
        DataError: `source` is no folder or holds no pictures, or there is no such split.
    """
    if split and split not in SPLITS:
        raise DataError(f"there is no split {split!r}: give one of {', '.join(SPLITS)}, or none and the content decides.")
    shards = (source / "manifest.csv").is_file()
    if shards and split:
        raise DataError(f"{source} has shards, whose own manifest gives the splits: leave --split away.")
    if not source.is_dir():
        raise DataError(f"there is no folder {source}: give one with a folder of pictures for each category.")
    source = source.resolve()
    found = _in_shards(source) if shards else _in_folders(source, split)
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
        if path.suffix.lower() in SUFFIXES and path.is_file():
            category = path.relative_to(source).parts[0]
            yield Candidate(str(path), source.name, split, category, path.read_bytes())


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
    size, reason = (0, 0), ""
    try:
        pixels = decode_rgb(candidate.content)
    except DataError:
        reason = "unreadable" if candidate.content else "empty or missing"
    else:
        size = pixels.shape[1], pixels.shape[0]
        grey = pixels.astype(np.int16)
        if min(size) < MIN_SIDE:
            reason = "tiny"
        elif np.abs(grey - grey.mean(axis=2, keepdims=True)).mean() < MIN_CHROMA:
            reason = "grey"
    split = "unseen" if candidate.category in UNSEEN else candidate.split or split_by_content(sha256)
    return Entry(candidate.path, candidate.set, split, candidate.category, *size, sha256), reason
