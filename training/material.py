"""The pictures of a recipe: which entries of the manifest, under which names, as packs."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from training.config import Data
from training.data.manifest import UNSEEN, DataError, Entry, digest, read_manifest
from training.data.packs import Pack, load_pack
from training.tasks.joint import TINY_SIZE

GENERAL = "general"  # the category of pictures that fit no other: it trains the fallback, and is the router's *unmapped*


@dataclass(frozen=True)
class Material:
    """The pictures that a recipe asks for, out of a manifest; packs are kept beside it.

    Raises:
        DataError: the manifest lacks what the recipe asks for.
    """

    data: Data
    manifest: Path

    @cached_property
    def entries(self) -> list[Entry]:
        """All entries of the manifest, by their own categories or by the classes that the recipe groups them into."""
        found = read_manifest(self.manifest)
        return _grouped(found, self.data.groups, self.manifest) if self.data.groups else found

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the training pictures in alphabetical order, *general* last and always among them."""
        return (*(name for name in self.classes if name != GENERAL), GENERAL)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The categories that have training pictures, in alphabetical order."""
        return tuple(sorted({entry.category for entry in select(self.entries, self.data.sets, "train")}))

    @cached_property
    def train(self) -> Pack:
        """Training pictures of the recipe's sets."""
        return self._pack(self.data.sets, "train", self.categories, self.data.size)

    @cached_property
    def val(self) -> Pack:
        """Validation pictures."""
        return self._pack(self.data.validation_sets, "val", self.categories, self.data.size)

    @cached_property
    def named(self) -> tuple[Pack, Pack]:
        """Training and validation pictures for a classifier, with a label for each of `classes` and no other."""
        train, val = (self._pack(sets, split, self.classes, self.data.size) for sets, split in self._splits)
        return train, val

    @property
    def _splits(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        return (self.data.sets, "train"), (self.data.validation_sets, "val")

    @cached_property
    def tiny(self) -> Pack | None:
        """Tiny ImageNet's pictures, if the recipe wants any."""
        if not self.data.tiny_every:
            return None
        found = sorted({entry.category for entry in select(self.entries, ("tiny",), "train")})
        return self._pack(("tiny",), "train", tuple(found), TINY_SIZE)

    @cached_property
    def digest(self) -> str:
        """The name of everything that is trained on, the pictures of `tiny` included."""
        sets = (*self.data.sets, *(("tiny",) if self.data.tiny_every else ()))
        return digest(select(self.entries, sets, "train", self.data.limit))

    @cached_property
    def validation_digest(self) -> str:
        """The name of everything that is validated on."""
        return digest(select(self.entries, self.data.validation_sets, "val", self.data.limit))

    def of(self, pack: Pack, category: str) -> Pack:
        """The pictures of one category; all of them for *general*, which paints anything.

        Raises:
            DataError: there are none.
        """
        if category == GENERAL:
            return pack
        chosen = pack.pick((pack.labels == self.categories.index(category)).nonzero()[0])
        if not len(chosen):
            raise DataError(f"there are no pictures of {category!r} in a split that is needed: check the manifest.")
        return chosen

    def _pack(self, sets: tuple[str, ...], split: str, categories: tuple[str, ...], size: int) -> Pack:
        entries = select(self.entries, sets, split, self.data.limit)
        if kept_out := sorted({entry.category for entry in entries} & UNSEEN):
            raise DataError(f"{', '.join(kept_out)} stay out of all training, and are in the split {split!r}: prepare again.")
        return load_pack(entries, categories, size, self.manifest.parent / "packs")


def select(entries: list[Entry], sets: tuple[str, ...], split: str, limit: int = 0) -> list[Entry]:
    """The entries of these sets (all sets if none is given) and this split; at most `limit`, taken in turn from each category."""
    chosen = [entry for entry in entries if entry.split == split and (entry.set in sets or not sets)]
    if not 0 < limit < len(chosen):
        return chosen
    turns: Counter[str] = Counter()
    ranked = []
    for entry in chosen:
        ranked.append((turns[entry.category], entry.category, entry.sha256, entry))
        turns[entry.category] += 1
    return [entry for *_, entry in sorted(ranked, key=lambda item: item[:3])[:limit]]


def _grouped(entries: list[Entry], groups: dict[str, tuple[str, ...]], manifest: Path) -> list[Entry]:
    names = {category: name for name, categories in groups.items() for category in categories}
    if strangers := sorted(set(names) - {entry.category for entry in entries}):
        raise DataError(f"{manifest} has no pictures of {', '.join(strangers)}, which data.groups asks for.")
    return [replace(entry, category=names[entry.category]) for entry in entries if entry.category in names]
