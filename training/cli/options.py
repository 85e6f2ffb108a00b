"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from training.data.dataset_index import DataError

Data = Annotated[Path, typer.Option("--data", help="The manifest that `prepare` wrote.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of the runs.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, mps ...")]
Changes = Annotated[list[str], typer.Option("--set", help="Change a value of the recipe: a.b=value.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Shrink the run to seconds, to see that it works.")]
Split = Annotated[str, typer.Option(help="train, val, test or unseen.")]
SetNames = Annotated[list[str], typer.Option("--set-name", help="Only these sets of the manifest.")]
Limit = Annotated[int, typer.Option(help="At most so many pictures, spread evenly; 0 for all.")]

INDEX, RUNS = Path("data/manifest.csv"), Path("runs")


def labeled(folders: list[Path]) -> dict[str, Path]:
    """Folders by their names, or by the last two parts of their paths where names are double.

    Raises:
        DataError: these are double too.
    """
    names = [folder.name for folder in folders]
    found = {folder.name if names.count(folder.name) == 1 else "/".join(folder.parts[-2:]): folder for folder in folders}
    if len(found) < len(folders):
        raise DataError(f"the folders {', '.join(map(str, folders))} end alike or are given twice: move them, or give each once.")
    return found
