"""A small dataset with every split, and finished runs on it, for all tests of training."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.small_runs import SETS, run_names
from training.config.recipe_files import load_recipe
from training.data.dataset_index import write_index
from training.data.prepare import prepare
from training.runs.train import train_recipe


@pytest.fixture(scope="session")
def manifest(category_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset index: all crops as the set *photographs*, evenly in three splits, and nine of them also as the set *tiny*."""
    entries = prepare(category_folders).entries
    splits = ("train", "val", "test")
    photographs = [replace(entry, set="photographs", split=splits[i % 3]) for i, entry in enumerate(entries)]
    tiny = [replace(entry, set="tiny", category=f"n{i % 3}", split="train") for i, entry in enumerate(entries[:9])]
    path = tmp_path_factory.mktemp("data") / "manifest.csv"
    write_index([*photographs, *tiny], path)
    return path


@pytest.fixture(scope="session")
def everyday_runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished smoke runs of the recipes of the bundle `everyday`. Tests must not change it."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("everyday-trunk", "everyday-wide", "everyday-close", "everyday-general"):
        assert run_names(train_recipe(load_recipe(name, SETS, smoke=True), manifest, folder)) == [name]
    for name in ("everyday-experts", "everyday-refined"):
        recipe = load_recipe(name, (*SETS, 'categories=["cat", "food"]'), smoke=True)
        assert run_names(train_recipe(recipe, manifest, folder)) == [f"{name}/cat", f"{name}/food"]
    return folder
