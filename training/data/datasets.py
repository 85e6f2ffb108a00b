"""The pictures of a recipe: selected entries of the dataset index, as packs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.config.recipe import DataOptions
from training.data.dataset_index import UNSEEN, DataError, Entry, digest, read_index
from training.data.packs import UNLABELED, Pack, load_pack

GENERAL = "general"  # the category of pictures that fit no other: it trains the fallback, and is the router's *unmapped*

CPU = torch.device("cpu")
TINY_SIZE = 64  # side in pixels of the pictures of Tiny ImageNet


@dataclass(frozen=True)
class Datasets:
    """The training and validation pictures of a recipe; packs are cached beside the index.

    Raises:
        DataError: the index does not contain what the recipe needs.
    """

    data: DataOptions
    index: Path
    device: torch.device = CPU

    @cached_property
    def entries(self) -> list[Entry]:
        """The entries of the index; only those that `data.groups` names, if it is given."""
        if not self.data.groups:
            return self._index_entries
        patterns = [pattern for group in self.data.groups.values() for pattern in group]
        if unknown := sorted(pattern for pattern in patterns if not any(_matches(kind, pattern) for kind in self._group_of)):
            raise DataError(f"{self.index} has no pictures of {', '.join(unknown)}, which data.groups names.")
        return [entry for entry in self._index_entries if self.category(entry)]

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the training pictures in alphabetical order, with *general* always last."""
        return (*(name for name in self.classes if name != GENERAL), GENERAL)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The categories that have training pictures, in alphabetical order."""
        found = {self.category(entry) for entry in select(self.entries, self.data.sets, "train")}
        return tuple(sorted(found - {UNLABELED}))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """SET/CATEGORY of all training pictures before grouping, including those of Tiny ImageNet, in alphabetical order."""
        entries = [*select(self.entries, self.data.sets, "train"), *(self._tiny_entries if self.data.tiny_interval else ())]
        return tuple(sorted({entry.kind for entry in entries}))

    @cached_property
    def train(self) -> Pack:
        """Training pictures, in the memory of the device if it is a GPU that has enough."""
        return self._weighted(self._pack(self.data.sets, "train", self.categories)).on(self.device)

    @cached_property
    def val(self) -> Pack:
        """Validation pictures."""
        return self._pack(self.data.validation_sets, "val", self.categories)

    @cached_property
    def labeled(self) -> tuple[Pack, Pack]:
        """Training and validation pictures for a classifier, with labels into `classes`."""
        train = self._pack(self.data.sets, "train", self.classes)
        return train.labeled(), self._pack(self.data.validation_sets, "val", self.classes).labeled()

    @cached_property
    def frequencies(self) -> NDArray[np.float64]:
        """The share of each of `categories` among the labeled pictures that are drawn in training."""
        entries = select(self.entries, self.data.sets, "train", self.data.limit, self.category)
        pictures = Counter(entry.kind for entry in entries)
        counts = np.array([pictures[kind] for kind in self.kinds])
        category_of = {entry.kind: self.category(entry) for entry in entries}
        drawn = dict(zip(self.kinds, counts * self._picture_weights(counts), strict=True))
        totals = [sum(drawn[kind] for kind in category_of if category_of[kind] == name) for name in self.categories]
        shares: NDArray[np.float64] = np.array(totals) / sum(totals)
        return shares

    @cached_property
    def tiny(self) -> Pack | None:
        """The pictures of Tiny ImageNet without labels, if the recipe uses them."""
        if not self.data.tiny_interval:
            return None
        pack = load_pack(self._tiny_entries, (), TINY_SIZE, self._folder, lambda entry: UNLABELED, self.kinds)
        return pack.on(self.device)

    @cached_property
    def digest(self) -> str:
        """The digest of all training pictures, including those of Tiny ImageNet."""
        sets = (*self.data.sets, *(("tiny",) if self.data.tiny_interval else ()))
        return digest(select(self.entries, sets, "train", self.data.limit, self.category))

    @cached_property
    def validation_digest(self) -> str:
        """The digest of all validation pictures."""
        return digest(select(self.entries, self.data.validation_sets, "val", self.data.limit, self.category))

    def of_category(self, pack: Pack, category: str) -> Pack:
        """The pictures of one category; all pictures for *general*.

        Raises:
            DataError: there are none.
        """
        if category == GENERAL:
            return pack
        chosen = pack.pick((pack.labels == self.categories.index(category)).nonzero()[0])
        if not len(chosen):
            raise DataError(f"there are no pictures of {category!r} in one of the splits: check the dataset index.")
        return chosen

    def category(self, entry: Entry) -> str:
        """The category of a picture: its own, or the first group that names it; empty for none."""
        return self._group_of[entry.kind] if self.data.groups else entry.category

    @cached_property
    def _index_entries(self) -> list[Entry]:
        return read_index(self.index)

    @cached_property
    def _group_of(self) -> dict[str, str]:
        """The group of each SET/CATEGORY of the index; empty for none."""
        groups = self.data.groups.items()
        return {
            kind: next((name for name, patterns in groups if any(_matches(kind, pattern) for pattern in patterns)), "")
            for kind in {entry.kind for entry in self._index_entries}
        }

    @cached_property
    def _tiny_entries(self) -> list[Entry]:
        return select(self._index_entries, ("tiny",), "train")

    def _weighted(self, pack: Pack) -> Pack:
        """The pack with the weights that the recipe asks for."""
        if not self.data.weights and not self.data.evenness:
            return pack
        return replace(pack, weights=self._picture_weights(np.bincount(pack.kinds, minlength=len(self.kinds)))[pack.kinds])

    def _picture_weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """How often a picture of each kind is drawn, by the number of pictures of the kind."""
        patterns = self.data.weights
        if unused := sorted(pattern for pattern in patterns if not any(_matches(kind, pattern) for kind in self.kinds)):
            raise DataError(f"{self.index} has no training pictures of {', '.join(unused)}, which data.weights names.")
        factors = [next((weight for pattern, weight in patterns.items() if _matches(kind, pattern)), 1.0) for kind in self.kinds]
        weights: NDArray[np.float64] = np.array(factors) * counts.clip(1) ** -self.data.evenness
        return weights

    @property
    def _folder(self) -> Path:
        return self.index.parent / "packs"

    def _pack(self, sets: tuple[str, ...], split: str, categories: tuple[str, ...]) -> Pack:
        entries = select(self.entries, sets, split, self.data.limit, self.category)
        if reserved := sorted({entry.category for entry in entries} & UNSEEN):
            raise DataError(f"{', '.join(reserved)} are reserved for tests, but are in the split {split!r}: run `prepare` again.")
        return load_pack(entries, categories, self.data.size, self._folder, self.category, self.kinds)


def _matches(kind: str, pattern: str) -> bool:
    """Whether a pattern names a kind SET/CATEGORY, or without a slash its category."""
    return fnmatchcase(kind if "/" in pattern else kind.partition("/")[2], pattern)


def select(
    entries: Sequence[Entry],
    sets: Sequence[str],
    split: str,
    limit: int = 0,
    category: Callable[[Entry], str] = attrgetter("category"),
) -> list[Entry]:
    """The entries of these sets (all sets if none is given) and this split; at most `limit`, in turn from each category."""
    chosen = [entry for entry in entries if entry.split == split and (entry.set in sets or not sets)]
    if not 0 < limit < len(chosen):
        return chosen
    turns: Counter[str] = Counter()
    ranked = []
    for entry in chosen:
        name = category(entry)
        ranked.append((turns[name], name, entry.sha256, entry))
        turns[name] += 1
    return [entry for *_, entry in sorted(ranked, key=lambda item: item[:3])[:limit]]
