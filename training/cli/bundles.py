"""Commands on what was trained: publish it, evaluate it, have it judged."""

import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.bundle import EVERYDAY
from models.atomic_files import replace_file
from models.runtime import Runtime
from training.cli.options import INDEX, RUNS, Changes, Data, Device, Limit, Runs, SetNames, Smoke, Split, labeled
from training.data.batches import plain_batches
from training.data.dataset_index import DataError, Entry, read_index
from training.data.packs import load_pack
from training.evaluation.evaluate import bundles_by_name, plain
from training.evaluation.evaluate import evaluate as evaluate_bundle
from training.evaluation.judge import Judgment, load_judge
from training.evaluation.judge import judge as judge_colors
from training.runs.trained_classifier import classifier_errors
from training.evaluation.results import numbers, per_picture
from training.report.render import check_folder, made_with, show, write_report
from training.report.samples import own_samples, packaged_samples, sample_rows
from training.evaluation.semantic import semantic_judge
from training.data.datasets import select
from training.publishing.publish import publish as publish_bundle
from training.config.recipe_files import load_bundle_recipe
from training.loop.distributed import single_process
from training.runs.trained import load_trained

EXAMPLES = 8  # pictures of the judge's second table


def publish(
    recipe: Annotated[str, typer.Argument(help="A recipe of a bundle, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; replaced when the new one is whole.")],
    data: Data = INDEX,
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
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")] = EVERYDAY,
    data: Data = INDEX,
    against: Annotated[list[Path], typer.Option(help="Folder of another bundle, to be compared; may be repeated.")] = [],  # noqa: B006
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    categories: Annotated[list[str], typer.Option("--category", help="Only pictures of this category; may be repeated.")] = [],  # noqa: B006
    limit: Limit = 0,
    out: Annotated[Path, typer.Option(help="Folder for the report: HTML, Markdown, JSON, CSV.")] = Path("report"),
    judge: Annotated[
        str, typer.Option(help="Who scores meaning: a run like li-judge, or NETWORK=FILE with torchvision's weights.")
    ] = "",
    classifiers: Annotated[list[Path], typer.Option("--classifier", help="Folder of a run that names, for the table of backbones.")] = [],  # noqa: B006
    risk: Annotated[float, typer.Option(min=0, max=1, help="Share of wrong names for which a threshold is sought.")] = 0.1,
    pictures: Annotated[Path | None, typer.Option(help="Color pictures to show; samples of packages if not given.")] = None,
    device: Device = "cpu",
) -> None:
    """Judge a bundle on gray copies of pictures whose colors are known, and write a report of it."""
    check_folder(out)
    known = read_index(data)
    entries = _entries(data, known, sets, split, limit, categories)
    place = single_process(device).device
    judging = semantic_judge(judge, place) if judge else None
    samples = [*(own_samples(pictures) if pictures else packaged_samples())]
    named = classifier_errors(labeled(classifiers), entries, data.parent / "packs", place)
    (_, ensemble), *others = bundles_by_name([bundle, *against], Runtime(device)).items()
    found = evaluate_bundle(ensemble, dict(others), entries, known, judging, risk)
    told = {**numbers(found), "classifiers": plain(named), "made": made_with(_command(), device)}
    write_report(told, list(sample_rows(ensemble, samples)), per_picture(found), out)
    show(told, Console())
    print(out / "report.html")


def _command() -> str:
    """The command line, with absolute paths by their last parts: where a machine keeps things is nobody's business."""
    short = [re.sub(r"(?<![^=\s])/[^=\s]*", lambda found: "/".join(Path(found[0]).parts[-2:]), word) for word in sys.argv[1:]]
    return shlex.join(["chromaroute-train", *short])


def judge(
    by: Annotated[Path, typer.Argument(help="Folder of a finished run that names colorized pictures, li-judge for one.")],
    painters: Annotated[list[Path], typer.Argument(help="Folders of finished runs that paint.")],
    data: Data = INDEX,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    limit: Limit = 0,
    temperatures: Annotated[str, typer.Option(help="Of the annealed mean; 1 is the plain mean.")] = "0.2,0.38,0.6,0.89,1",
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
    device: Device = "cpu",
) -> None:
    """Ask a classifier whether color helps it: on gray, colorized, annealed and true pictures (paper 002)."""
    place = single_process(device).device
    classifier = load_judge(by, place)
    trained = {name: load_trained(folder, place) for name, folder in labeled(painters).items()}
    if len({painter.size for painter in trained.values()}) > 1:
        raise DataError("the runs paint at different sizes: judge those of one size at a time.")
    try:
        steps = tuple(float(text) for text in temperatures.split(","))
        if min(steps) <= 0:
            raise ValueError
    except ValueError as error:
        raise DataError(f"--temperatures is {temperatures!r}: give numbers above 0, with commas between.") from error
    size = next(iter(trained.values())).size
    pack = load_pack(_entries(data, read_index(data), sets, split, limit), classifier.categories, size, data.parent / "packs")
    batches = (batch.to(place) for batch in plain_batches(pack, 128, size))
    found = judge_colors(classifier, trained, batches, steps)
    if out is not None:
        replace_file(out, (json.dumps(plain({"pictures": len(found.labels), "ways": found.rows()}), indent=1) + "\n").encode())
    _show(found, Console())


def _show(found: Judgment, console: Console) -> None:
    table = Table("way", "accuracy", "minus gray's", "confidence in the truth")
    for way, row in found.rows().items():
        table.add_row(way, f"{row['accuracy']:.1%}", f"{row['gain']:+.1%}", f"{row['confidence']:.1%}")
    console.print(f"{len(found.labels)} pictures, judged by a classifier of {len(found.categories)} classes")
    console.print(table)
    shown = range(0, len(found.labels), -(-len(found.labels) // EXAMPLES))
    table = Table("truth", *(found.categories[found.labels[index]] for index in shown))
    for name, verdicts in found.ways.items():
        table.add_row(name, *(f"{found.categories[verdicts.named[index]]} ({verdicts.confidence[index]:.0%})" for index in shown))
    console.print(table)


def _entries(
    data: Path, known: list[Entry], sets: list[str], split: str, limit: int, categories: Sequence[str] = ()
) -> list[Entry]:
    names = sorted({entry.category for entry in known})
    if strangers := sorted(set(categories) - set(names)):
        raise DataError(f"{data} has no category {', '.join(strangers)}; it has {', '.join(names)}.")
    wanted = [entry for entry in known if entry.category in (categories or names)]
    entries = select(wanted, tuple(sets), split, limit)
    if not entries:
        counts = Counter(f"{entry.set} {entry.split}" for entry in wanted)
        there = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))
        raise DataError(f"{data} has no picture in the split {split!r} of these sets; it has {there}. See --split and --set-name.")
    return entries
