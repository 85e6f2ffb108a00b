"""Commands for bundles: publish, evaluate, render."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.bundle_header import EVERYDAY
from models.runtime import Runtime
from training.cli.options import (
    INDEX,
    RUNS,
    Categories,
    Changes,
    Data,
    Device,
    Limit,
    Runs,
    SetNames,
    Smoke,
    Split,
    folders_by_name,
    select_entries,
)  # fmt: skip
from training.config.recipe_files import load_bundle_recipe
from training.data.dataset_index import read_index
from training.evaluation.classifier_errors import classifier_errors
from training.evaluation.evaluate import evaluate as evaluate_bundle
from training.evaluation.evaluate import load_bundles
from training.evaluation.judge import load_judge
from training.loop.distributed import single_process
from training.publishing.publish import publish as publish_bundle
from training.report.render import check_folder, made_with, print_report, render_again, write_report
from training.report.samples import folder_samples, packaged_samples, sample_strips


def publish(
    recipe: Annotated[str, typer.Argument(help="A recipe of a bundle, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle, which is replaced when the new one is complete.")],
    data: Data = INDEX,
    runs: Runs = RUNS,
    device: Device = "cpu",
    changes: Changes = [],  # noqa: B006 (typer reads the default and does not change it)
    smoke: Smoke = False,
) -> None:
    """Calibrate finished runs on the validation pictures, and publish them as a bundle."""
    loaded = load_bundle_recipe(recipe, tuple(changes), smoke)
    manifest = publish_bundle(loaded, data, runs, out, Console(), device)
    size = sum({card.file: card.bytes for card in manifest.cards().values()}.values())
    print(f"{manifest.name}: {len(manifest.experts)} experts, {size / 2**20:.1f} MiB in {out}")


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")] = EVERYDAY,
    data: Data = INDEX,
    against: Annotated[list[Path], typer.Option(help="Folder of another bundle to compare with. Repeatable.")] = [],  # noqa: B006
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    categories: Categories = [],  # noqa: B006
    limit: Limit = 0,
    out: Annotated[Path, typer.Option(help="Folder of the report: HTML, Markdown, JSON, CSV.")] = Path("report"),
    judge: Annotated[
        str, typer.Option(help="The judge of semantic scores: a run such as li-judge, or NETWORK=FILE with weights of torchvision.")
    ] = "",
    classifiers: Annotated[
        list[Path], typer.Option("--classifier", help="Folder of a classifier's run, whose errors are listed. Repeatable.")
    ] = [],  # noqa: B006
    risk: Annotated[float, typer.Option(min=0, max=1, help="Share of misrouted pictures for which a threshold is searched.")] = 0.1,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of color pictures for the samples; by default, pictures of Python packages.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Evaluate a bundle on gray copies of color pictures, and write a report."""
    check_folder(out)
    entries = select_entries(data, sets, split, categories, limit)
    torch_device = single_process(device).device
    judging = load_judge(judge, torch_device) if judge else None
    samples = list(folder_samples(pictures) if pictures else packaged_samples())
    errors = classifier_errors(folders_by_name(classifiers), entries, data.parent / "packs", torch_device)
    (_, ensemble), *others = load_bundles([bundle, *against], Runtime(device)).items()
    evaluation = evaluate_bundle(ensemble, dict(others), entries, read_index(data), judging, risk)
    strips = list(sample_strips(ensemble, samples))
    added = {"classifiers": errors, "samples": [sample for sample, _ in strips], "made_with": made_with(_command(), device)}
    report = evaluation.report.model_copy(update=added)
    write_report(report, {sample.name: content for sample, content in strips}, out, evaluation.to_csv())
    print_report(report, Console())
    print(out / "report.html")


def render(folder: Annotated[Path, typer.Argument(help="Folder of a report that `evaluate` wrote.")]) -> None:
    """Render a report again from its report.json; no picture is evaluated."""
    render_again(folder)
    print(folder / "report.html")


def _command() -> str:
    """The command line, with absolute paths shortened to two parts, because a report does not tell where a machine stores its
    files.
    """
    short = [re.sub(r"(?<![^=\s])/[^=\s]*", lambda path: "/".join(Path(path[0]).parts[-2:]), word) for word in sys.argv[1:]]
    return shlex.join(["chromaroute-train", *short])
