"""A small data set with every split, for all tests of training."""

from dataclasses import replace
from pathlib import Path

import pytest

from training.data.dataset_index import write_index
from training.data.prepare import prepare


@pytest.fixture(scope="session")
def manifest(category_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crops, a third of them for validation and as many for testing."""
    entries = prepare(category_folders).entries
    splits = ("train", "val", "test")
    spread = [replace(entry, set="photographs", split=splits[i % 3]) for i, entry in enumerate(entries)]
    tiny = [replace(entry, set="tiny", category=f"n{i % 3}", split="train") for i, entry in enumerate(entries[:9])]
    path = tmp_path_factory.mktemp("data") / "manifest.csv"
    write_index([*spread, *tiny], path)
    return path
