"""Options that several commands share, and the pictures that they select."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.data.dataset_index import DataError, Entry, read_index
from training.data.datasets import select

Data = Annotated[Path, typer.Option("--data", help="The dataset index that `prepare` wrote.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of the runs.")]
Device = Annotated[str, typer.Option("--device", help="The device of torch: cpu, cuda, mps ...")]
Changes = Annotated[list[str], typer.Option("--set", help="Change a value of the recipe: a.b=value. Repeatable.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Shrink the training to seconds, to test it.")]
Split = Annotated[str, typer.Option(help="train, val, test or unseen.")]
SetNames = Annotated[list[str], typer.Option("--set-name", help="Only these sets of the index. Repeatable.")]
Categories = Annotated[list[str], typer.Option("--category", help="Only pictures of this category. Repeatable.")]
Limit = Annotated[int, typer.Option(min=0, help="At most this many pictures, in turn from each category; 0 for all.")]

INDEX, RUNS = Path("data/manifest.csv"), Path("runs")


def select_entries(index: Path, sets: Sequence[str], split: str, categories: Sequence[str] = (), limit: int = 0) -> list[Entry]:
    """The entries of a dataset index that the options select.

    Raises:
        DataError: there are none, or a category does not exist.
    """
    entries = read_index(index)
    names = sorted({entry.category for entry in entries})
    if unknown := sorted(set(categories) - set(names)):
        raise DataError(f"{index} has no category {', '.join(unknown)}; it has {', '.join(names)}.")
    wanted = [entry for entry in entries if entry.category in (categories or names)]
    selected = select(wanted, tuple(sets), split, limit)
    counts = Counter(f"{entry.set} {entry.split}" for entry in wanted)
    existing = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
    if not sets and len({entry.set for entry in selected}) > 1:  # scores of a mixture could not be compared with earlier ones
        raise DataError(f"{index} has several sets in the split {split!r}: name those that you mean with --set-name; {existing}.")
    if not selected:
        raise DataError(
            f"{index} has no pictures in the split {split!r} of these sets; it has {existing}. See --split and --set-name."
        )
    return selected


def folders_by_name(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders by their names, or by the last two parts of their paths where names occur twice.

    Raises:
        DataError: these occur twice too.
    """
    names = [folder.name for folder in folders]
    found = {folder.name if names.count(folder.name) == 1 else "/".join(folder.parts[-2:]): folder for folder in folders}
    if len(found) < len(folders):
        raise DataError(
            f"the folders {', '.join(map(str, folders))} have equal names or are given twice: move them, or give each once."
        )
    return found


def print_columns(title: str, columns: dict[str, dict[str, float]]) -> None:
    """Print a table whose columns are given by name; rows are labeled with the keys of the columns."""
    table = Table(title, *columns)
    for key in dict.fromkeys(key for column in columns.values() for key in column):
        table.add_row(key, *(f"{column[key]:.3f}" if key in column else "" for column in columns.values()))
    Console().print(table)
