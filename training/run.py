"""From a recipe to its runs: gather the pictures, build the task, fit it in a folder of its own."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from models.runtime import Runtime
from training.checkpoints import file_digest
from training.config import Adversarial, Data, Expert, Joint, Recipe, RecipeError
from training.data.manifest import UNSEEN, DataError, Entry, digest, read_manifest
from training.data.packs import Pack, load_pack
from training.fit import BEST, fit
from training.tasks.adversarial import AdversarialTask
from training.tasks.base import Task
from training.tasks.expert import ExpertTask
from training.tasks.joint import TINY_SIZE, JointTask
from training.tasks.regression import RegressionTask

GENERAL = "general"  # the category of pictures that fit no other: it trains the fallback, and is the router's *unmapped*


@dataclass(frozen=True)
class Material:
    """The pictures that a recipe asks for, out of a manifest; packs are kept beside it."""

    data: Data
    manifest: Path

    @cached_property
    def entries(self) -> list[Entry]:
        """All entries of the manifest."""
        return read_manifest(self.manifest)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the training pictures in alphabetical order, *general* last and always among them."""
        found = {entry.category for entry in select(self.entries, self.data.sets, "train")}
        return (*sorted(found - {GENERAL}), GENERAL)

    @cached_property
    def train(self) -> Pack:
        """Training pictures of the recipe's sets."""
        return self._pack(self.data.sets, "train", self.categories, self.data.size)

    @cached_property
    def val(self) -> Pack:
        """Validation pictures."""
        return self._pack(self.data.validation_sets, "val", self.categories, self.data.size)

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


def run(recipe: Recipe, manifest: Path, runs: Path, device: str = "cpu") -> Iterator[tuple[str, dict[str, float]]]:
    """Train what the recipe asks for; yields each run's name under `runs` and its best scores.

    With `each`, there is a run `NAME/CATEGORY` for every category, else one called `NAME`. Runs that were finished are not
    trained again, and one that was interrupted goes on.

    Raises:
        RecipeError, DataError, CheckpointError, OptionError: the recipe cannot be followed; the message says why.
    """
    place = torch_device(device)
    material = Material(recipe.data, manifest)
    if not recipe.each:
        yield recipe.name, _fit(recipe, material, GENERAL, runs, recipe.name, place)
        return
    wanted = recipe.categories or material.categories[:-1]
    if strangers := sorted(set(wanted) - set(material.categories)):
        raise RecipeError(
            f"the recipe's categories {strangers} are not in the data: give some of {', '.join(material.categories)}."
        )
    for category in wanted:
        name = f"{recipe.name}/{category}"
        yield name, _fit(recipe, material, category, runs, name, place)


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        OptionError: this torch cannot use it.
    """
    return torch.device(Runtime(name).device)


def _fit(recipe: Recipe, material: Material, category: str, runs: Path, name: str, device: torch.device) -> dict[str, float]:
    origin = {"recipe": recipe.model_dump(mode="json", exclude={"categories"}), "data": material.digest}
    if isinstance(recipe.task, Expert):
        origin["base"] = file_digest(runs / recipe.task.base / BEST)
    return fit(_task(recipe, material, category, runs, device), recipe.schedule, recipe.seed, runs / name, origin)


def _task(recipe: Recipe, material: Material, category: str, runs: Path, device: torch.device) -> Task:
    options = recipe.task
    if isinstance(options, Joint):
        return JointTask(recipe, material.train, material.val, material.tiny, device)
    own, val = material.of(material.train, category), material.of(material.val, category)
    if isinstance(options, Expert):
        return ExpertTask(recipe, category, own, material.train, val, runs / options.base / BEST, device)
    if isinstance(options, Adversarial):
        return AdversarialTask(recipe, category, own, val, device)
    return RegressionTask(recipe, category, own, val, device)
