"""Commands on surveys: build one, count it."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.atomic_files import replace_file
from models.runtime import Runtime
from training.cli.options import INDEX, Data, Device, SetNames, Split
from training.data.dataset_index import DataError, read_index
from training.evaluation.evaluate import bundles_by_name
from training.report.formatting import percent
from training.data.datasets import select
from training.survey.build import build as build_survey
from training.survey.tally import tally as tally_votes

Key = Annotated[Path | None, typer.Option(help="The file that says who painted what; FOLDER.key.json if not given.")]


def build(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
    out: Annotated[Path, typer.Option(help="Folder of the survey, for chromaroute serve --survey.")],
    data: Data = INDEX,
    natural: Annotated[int, typer.Option(min=0, help="Questions a category: which one looks most natural?")] = 1,
    real: Annotated[int, typer.Option(min=0, help="Questions a category: real or colorized?")] = 0,
    categories: Annotated[list[str], typer.Option("--category", help="Only this category; may be repeated.")] = [],  # noqa: B006
    title: Annotated[str, typer.Option(help="What people read on top.")] = "Which colors look natural?",
    seed: Annotated[int, typer.Option(help="Of the pictures that are drawn.")] = 0,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    key: Key = None,
    device: Device = "cpu",
) -> None:
    """Make a blind survey: pictures of every category, painted by every bundle, and a key that stays with you."""
    entries = select(read_index(data), tuple(sets), split)
    known = {entry.category for entry in entries}
    if strangers := sorted(set(categories) - known):
        raise DataError(f"--category {', '.join(strangers)} is not in the data: give some of {', '.join(sorted(known))}.")
    if categories:
        entries = [entry for entry in entries if entry.category in categories]
    if not entries:
        raise DataError(f"{data} has no pictures in the split {split!r} of these sets: see --split and --set-name.")
    key = key or _beside(out)
    sealed = build_survey(bundles_by_name(bundles, Runtime(device)), entries, natural, real, seed, title, out, key)
    print(
        f"{out}: {len(sealed['questions'])} questions; {len(sealed['painted_alike'])} pictures were passed over, being painted "
        "alike"
    )
    print(f"{key}: who painted what; keep it away from the server")


def tally(
    folder: Annotated[Path, typer.Argument(help="Folder of the survey.")],
    votes: Annotated[Path | None, typer.Option(help="The votes; surveys/ID.sqlite in CHROMAROUTE_DATA_DIR if not given.")] = None,
    key: Key = None,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
) -> None:
    """Count the votes: shares, wins, losses, mean and SD, overall and by category; fooling rates (paper 004, tables 1 and 2)."""
    key = key or _beside(folder)
    if votes is None:
        try:
            votes = (
                Path(os.environ.get("CHROMAROUTE_DATA_DIR", "data"), "surveys")
                / f"{json.loads((folder / 'survey.json').read_bytes())['id']}.sqlite"
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} is no survey ({error!r}): give its folder, or the votes with --votes.") from error
    found = tally_votes(key, votes)
    if out is not None:
        replace_file(out, (json.dumps(found, indent=1) + "\n").encode())
    _show(found, Console())


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.key.json")


def _show(found: dict[str, Any], console: Console) -> None:
    left_out = "; ".join(f"{count} {reason}" for reason, count in found["left_out"].items()) or "none"
    minutes = "" if found["minutes"] is None else f", {found['minutes']:.1f} minutes from first to last answer (median)"
    console.print(
        f"{found['votes']} votes of {found['people']} people on {found['questions']} questions; {found['finished']} answered all"
        f"{minutes}. Questions without a vote: {found['not_voted_on']}. Votes left out: {left_out}. Pictures that were passed over "
        f"because two bundles paint them alike: {found['painted_alike']}.",
        markup=False,
    )
    for name, row in (("all", found["natural"]["all"]), *found["natural"]["by_category"].items()):
        if row:
            table = Table("most natural", *map(escape, row["candidates"]), title=f"{escape(name)}: {row['questions']} questions")
            each = row["candidates"].values()
            table.add_row("votes", *(str(one["votes"]) for one in each))
            table.add_row("share", *(percent(one["share"]) for one in each))
            for score in ("wins", "losses"):
                table.add_row(score, *(str(one[score]) for one in each))
            for score in ("mean", "sd"):
                table.add_row(f"{score} of %", *("" if one[score] is None else f"{one[score]:.1f}" for one in each))
            console.print(table)
    if found["natural"]["all"]:
        console.print(f"Votes by the place of the picture, from the first: {found['natural']['all']['by_position']}")
    for name, row in (("all", found["real"]["all"]), *found["real"]["by_category"].items()):
        if row:
            table = Table("called real", *map(escape, row["candidates"]), title=f"{escape(name)}: {row['questions']} questions")
            each = row["candidates"].values()
            table.add_row("share", *("" if one["called_real"] is None else percent(one["called_real"]) for one in each))
            table.add_row("votes", *(str(one["votes"]) for one in each))
            console.print(table)
