"""Commands for surveys: build, tally."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.atomic_files import replace_file
from models.runtime import Runtime
from training.cli.options import INDEX, Categories, Data, Device, SetNames, Split, select_entries
from training.data.dataset_index import DataError
from training.evaluation.evaluate import load_bundles
from training.report.formatting import percent
from training.survey.build import CARD
from training.survey.build import build as build_survey
from training.survey.results import NaturalVotes, RealVotes, Tally
from training.survey.tally import tally as tally_votes

Key = Annotated[Path | None, typer.Option(help="The record of which bundle made which picture; by default FOLDER.key.json.")]


def build(
    bundles: Annotated[list[Path], typer.Argument(help="Folders of bundles.")],
    out: Annotated[Path, typer.Option(help="Folder of the survey, for chromaroute serve --survey.")],
    data: Data = INDEX,
    natural: Annotated[int, typer.Option(min=0, help="Questions per category: which picture looks most natural?")] = 1,
    real: Annotated[int, typer.Option(min=0, help="Questions per category: real or colorized?")] = 0,
    categories: Categories = [],  # noqa: B006 (typer reads the default and does not change it)
    title: Annotated[str, typer.Option(help="The title of the page.")] = "Which colors look natural?",
    seed: Annotated[int, typer.Option(help="Of the choice of pictures.")] = 0,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006
    key: Key = None,
    device: Device = "cpu",
) -> None:
    """Build a blind survey: pictures of every category, colorized by every bundle, and a key that you keep."""
    entries = select_entries(data, sets, split, categories)
    key = key or _default_key(out)
    made = build_survey(load_bundles(bundles, Runtime(device)), entries, natural, real, seed, title, out, key)
    print(f"{out}: {len(made.questions)} questions; {len(made.colorized_alike)} pictures skipped, which bundles colorize alike")
    print(f"{key}: which bundle made which picture; do not store it on the server")


def tally(
    folder: Annotated[Path, typer.Argument(help="Folder of the survey.")],
    votes: Annotated[Path | None, typer.Option(help="The votes; by default surveys/ID.sqlite in CHROMAROUTE_DATA_DIR.")] = None,
    key: Key = None,
    out: Annotated[Path | None, typer.Option(help="Write the counts as JSON.")] = None,
) -> None:
    """Count the votes: shares, wins, losses, mean, SD, overall and by category; fooling rates (paper 004, tables 1 and 2)."""
    counts = tally_votes(key or _default_key(folder), votes or _default_votes(folder))
    if out is not None:
        replace_file(out, (counts.model_dump_json(indent=1) + "\n").encode())
    _print_tally(counts, Console())


def _default_key(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.key.json")


def _default_votes(folder: Path) -> Path:
    try:
        survey = json.loads((folder / CARD).read_bytes())["id"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is not a survey ({error!r}): give its folder, or the votes with --votes.") from error
    return Path(os.environ.get("CHROMAROUTE_DATA_DIR", "data"), "surveys", f"{survey}.sqlite")


def _print_tally(counts: Tally, console: Console) -> None:
    left_out = "; ".join(f"{count} {reason}" for reason, count in counts.left_out.items()) or "none"
    minutes = "" if counts.minutes is None else f", {counts.minutes:.1f} minutes from first to last answer (median)"
    console.print(
        f"{counts.votes} votes of {counts.people} people on {counts.questions} questions; {counts.finished} people answered all"
        f"{minutes}. Questions without votes: {counts.not_voted_on}. Votes left out: {left_out}. Pictures skipped because "
        f"two bundles colorize them alike: {counts.colorized_alike}.",
        markup=False,
    )
    if counts.natural.all is not None:
        _print_natural({"all": counts.natural.all, **counts.natural.by_category}, console)
        console.print(f"Votes by position of the picture, from the first: {counts.natural.all.by_position}")
    if counts.real.all is not None:
        _print_real({"all": counts.real.all, **counts.real.by_category}, console)


def _print_natural(tables: Mapping[str, NaturalVotes], console: Console) -> None:
    for name, votes in tables.items():
        table = Table("most natural", *map(escape, votes.candidates), title=f"{escape(name)}: {votes.questions} questions")
        candidates = votes.candidates.values()
        table.add_row("votes", *(str(candidate.votes) for candidate in candidates))
        table.add_row("share", *(percent(candidate.share) for candidate in candidates))
        table.add_row("wins", *(str(candidate.wins) for candidate in candidates))
        table.add_row("losses", *(str(candidate.losses) for candidate in candidates))
        table.add_row("mean of %", *("" if candidate.mean is None else f"{candidate.mean:.1f}" for candidate in candidates))
        table.add_row("SD of %", *("" if candidate.sd is None else f"{candidate.sd:.1f}" for candidate in candidates))
        console.print(table)


def _print_real(tables: Mapping[str, RealVotes], console: Console) -> None:
    for name, votes in tables.items():
        table = Table("called real", *map(escape, votes.candidates), title=f"{escape(name)}: {votes.questions} questions")
        candidates = votes.candidates.values()
        table.add_row("share", *("" if each.called_real is None else percent(each.called_real) for each in candidates))
        table.add_row("votes", *(str(each.votes) for each in candidates))
        console.print(table)
