"""Commands on what was trained: publish it, evaluate it, have it judged."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.bundle import load_bundle
from models.ensemble import Ensemble
from models.files import replace_file
from models.runtime import Runtime
from training.commands.options import MANIFEST, RUNS, Changes, Data, Device, Limit, Runs, SetNames, Smoke, Split, labelled
from training.data.batches import plain_batches
from training.data.manifest import DataError, Entry, read_manifest
from training.data.packs import load_pack
from training.evaluation.evaluate import evaluate as evaluate_bundle
from training.evaluation.judge import Judgement, load_judge
from training.evaluation.judge import judge as judge_colours
from training.evaluation.report import show
from training.material import select
from training.publishing.publish import publish as publish_bundle
from training.recipe_files import load_bundle_recipe
from training.team import alone
from training.trained import load_trained

EXAMPLES = 8  # pictures of the judge's second table


def publish(
    recipe: Annotated[str, typer.Argument(help="A recipe of a bundle, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced when the new one is whole.")],
    data: Data = MANIFEST,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006 (typer reads the default and does not change it)
    smoke: Smoke = False,
) -> None:
    """Calibrate finished runs on the validation pictures and join them into a bundle."""
    bundle = load_bundle_recipe(recipe, tuple(changes), smoke)
    manifest = publish_bundle(bundle, data, runs, out, Console(), device)
    size = sum({card.file: card.bytes for card in manifest.cards().values()}.values())
    print(f"{manifest.name}: {len(manifest.experts)} experts, {size / 2**20:.1f} MiB in {out}")


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")] = Path("models/bundles/everyday"),
    data: Data = MANIFEST,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    limit: Limit = 0,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
    device: Device = "cpu",
) -> None:
    """Score a bundle on grey copies of pictures whose colours are known."""
    found = evaluate_bundle(Ensemble(load_bundle(bundle), Runtime(device)), _entries(data, sets, split, limit))
    if out is not None:
        replace_file(out, (json.dumps(rounded(asdict(found)), indent=1) + "\n").encode())
    show(found, Console())


def judge(
    by: Annotated[Path, typer.Argument(help="Folder of a finished run that names coloured pictures, li-judge for one.")],
    painters: Annotated[list[Path], typer.Argument(help="Folders of finished runs that paint.")],
    data: Data = MANIFEST,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    limit: Limit = 0,
    temperatures: Annotated[str, typer.Option(help="Of the annealed mean; 1 is the plain mean.")] = "0.2,0.38,0.6,0.89,1",
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
    device: Device = "cpu",
) -> None:
    """Ask a classifier whether colour helps it: on grey, coloured, annealed and true pictures (paper 002)."""
    place = alone(device).device
    classifier = load_judge(by, place)
    trained = {name: load_trained(folder, place) for name, folder in labelled(painters).items()}
    if len({painter.size for painter in trained.values()}) > 1:
        raise DataError("the runs paint at different sizes: judge those of one size at a time.")
    try:
        steps = tuple(float(text) for text in temperatures.split(","))
        if min(steps) <= 0:
            raise ValueError
    except ValueError as error:
        raise DataError(f"--temperatures is {temperatures!r}: give numbers above 0, with commas between.") from error
    size = next(iter(trained.values())).size
    pack = load_pack(_entries(data, sets, split, limit), classifier.categories, size, data.parent / "packs")
    batches = (batch.to(place) for batch in plain_batches(pack, 128, size))
    found = judge_colours(classifier, trained, batches, steps)
    if out is not None:
        replace_file(out, (json.dumps(rounded({"pictures": len(found.labels), "ways": found.rows()}), indent=1) + "\n").encode())
    _show(found, Console())


def _show(found: Judgement, console: Console) -> None:
    table = Table("way", "accuracy", "minus grey's", "confidence in the truth")
    for way, row in found.rows().items():
        table.add_row(way, f"{row['accuracy']:.1%}", f"{row['gain']:+.1%}", f"{row['confidence']:.1%}")
    console.print(f"{len(found.labels)} pictures, judged by a classifier of {len(found.categories)} classes")
    console.print(table)
    shown = range(0, len(found.labels), -(-len(found.labels) // EXAMPLES))
    table = Table("truth", *(found.categories[found.labels[index]] for index in shown))
    for name, verdicts in found.ways.items():
        table.add_row(name, *(f"{found.categories[verdicts.named[index]]} ({verdicts.confidence[index]:.0%})" for index in shown))
    console.print(table)


def _entries(data: Path, sets: list[str], split: str, limit: int) -> list[Entry]:
    known = read_manifest(data)
    entries = select(known, tuple(sets), split, limit)
    if not entries:
        counts = Counter(f"{entry.set} {entry.split}" for entry in known)
        there = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
        raise DataError(f"{data} has no picture in the split {split!r} of these sets; it has {there}. See --split and --set-name.")
    return entries


def rounded(value: Any) -> Any:
    """The same nested value with floats at four places."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value
