"""`chromaroute-train`: prepare, train, publish, evaluate."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from models.bundle import load_bundle
from models.ensemble import Ensemble
from models.errors import ChromarouteError
from models.files import replace_file
from models.runtime import Runtime
from training.config import load_bundle_recipe, load_recipe
from training.data.manifest import DataError, read_manifest, write_manifest
from training.data.prepare import prepare as prepare_entries
from training.evaluation.evaluate import evaluate as evaluate_bundle
from training.evaluation.report import show
from training.publish import Publisher
from training.run import Material, run, select

app = typer.Typer(no_args_is_help=True, help="Train colorizers and make bundles of them.", pretty_exceptions_enable=False)

Data = Annotated[Path, typer.Option("--data", help="The manifest that `prepare` wrote.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of the runs.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, mps ...")]
Changes = Annotated[list[str], typer.Option("--set", help="Change a value of the recipe: a.b=value.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Shrink the run to seconds, to see that it works.")]


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="A folder with a folder of pictures for each category, or tar shards.")],
    out: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("data/manifest.csv"),
    split: Annotated[str, typer.Option(help="Put every picture into this split; by default the content decides.")] = "",
) -> None:
    """Make a manifest of a data set; what cannot be used is set aside and listed."""
    prepared = prepare_entries(source, split)
    write_manifest(prepared.entries, out)
    print(prepared.summary())
    print(f"{len(prepared.entries)} pictures in {out}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the project, or a TOML file.")],
    data: Data = Path("data/manifest.csv"),
    runs: Runs = Path("runs"),
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006 (typer reads the default and does not change it)
    smoke: Smoke = False,
) -> None:
    """Train a recipe; a run that was interrupted goes on where it was."""
    for name, scores in run(load_recipe(recipe, tuple(changes), smoke), data, runs, device):
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))


@app.command()
def publish(
    recipe: Annotated[str, typer.Argument(help="A recipe of a bundle, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced when the new one is whole.")],
    data: Data = Path("data/manifest.csv"),
    runs: Runs = Path("runs"),
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006
    smoke: Smoke = False,
) -> None:
    """Calibrate finished runs on the validation pictures and join them into a bundle."""
    bundle = load_bundle_recipe(recipe, tuple(changes), smoke)
    manifest = Publisher(bundle, Material(bundle.data, data), runs, Console(), device).publish(out)
    size = sum({card.file: card.bytes for card in manifest.cards().values()}.values())
    print(f"{manifest.name}: {len(manifest.experts)} experts, {size / 2**20:.1f} MiB in {out}")


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")] = Path("models/bundles/everyday"),
    data: Data = Path("data/manifest.csv"),
    split: Annotated[str, typer.Option(help="train, val, test or unseen.")] = "test",
    sets: Annotated[list[str], typer.Option("--set-name", help="Only these sets of the manifest.")] = [],  # noqa: B006
    limit: Annotated[int, typer.Option(help="At most so many pictures, spread evenly; 0 for all.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
    device: Device = "cpu",
) -> None:
    """Score a bundle on grey copies of pictures whose colours are known."""
    known = read_manifest(data)
    entries = select(known, tuple(sets), split, limit)
    if not entries:
        counts = Counter(f"{entry.set} {entry.split}" for entry in known)
        there = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
        raise DataError(f"{data} has no picture in the split {split!r} of these sets; it has {there}. See --split and --set-name.")
    found = evaluate_bundle(Ensemble(load_bundle(bundle), Runtime(device)), entries)
    if out is not None:
        replace_file(out, (json.dumps(rounded(asdict(found)), indent=1) + "\n").encode())
    show(found, Console())


def rounded(value: Any) -> Any:
    """The same nested value with floats at four places."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """The command; our own errors end it with their message and exit code 1, anything else is a fault and shows its traceback."""
    try:
        app()
    except ChromarouteError as error:
        sys.exit(f"chromaroute-train: {error}")


if __name__ == "__main__":
    main()
