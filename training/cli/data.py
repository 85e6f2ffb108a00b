"""Commands on data: collect it, make a manifest of it, look at its colors."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress

from models.atomic_files import replace_file
from training.cli.options import INDEX, Data, Device, Limit, SetNames, Split
from training.collect.collection import Collected, collect
from training.data.dataset_index import DataError, read_index, write_index, write_set_aside
from training.data.packs import load_pack
from training.collect.http_client import RateLimitedClient
from training.data.prepare import prepare as prepare_entries
from training.collect.sources import Source, openverse, unsplash, url_lists, wikimedia
from training.evaluation import charts
from training.metrics.palette import SIDE, count_colors, draw_colors
from training.metrics.distribution import CELL, CELLS, CHROMA_STEP, distances, pack_counts
from training.data.datasets import select
from training.loop.distributed import single_process
from training.runs.trained import load_trained


def collect_pictures(
    categories: Annotated[list[str], typer.Argument(help="Names of categories; NAME=QUERY asks for other words.")],
    count: Annotated[int, typer.Option(min=1, help="So many pictures of each.")] = 1000,
    out: Annotated[Path, typer.Option(help="A folder, in which each category gets one.")] = Path("photographs"),
    source: Annotated[str, typer.Option(help="openverse, wikimedia, unsplash or urls.")] = "openverse",
    urls: Annotated[Path, typer.Option(help="For the source urls: a folder with QUERY.txt, an address a line.")] = Path("urls"),
    address: Annotated[str, typer.Option(help="Another address of the source's API.")] = "",
    contact: Annotated[str, typer.Option(help="An address at which the source's people can reach you; they ask for it.")] = "",
    interval: Annotated[float, typer.Option(min=0, help="Seconds between requests to one host.")] = 1.0,
    min_side: Annotated[int, typer.Option(min=32, help="Smallest side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the order of URL lists.")] = 0,
) -> None:
    """Collect photographs for named categories, with license and author; what was collected is not fetched again.

    Unsplash wants a key, in CHROMAROUTE_UNSPLASH_KEY.
    """
    wanted = [(name, query or name) for name, _, query in (text.partition("=") for text in categories)]
    agent = f"chromaroute-train/{version('chromaroute')}" + (f" ({contact})" if contact else "")
    client = RateLimitedClient(agent, interval)
    try:
        with Progress() as progress:
            bars = {name: progress.add_task(escape(name), total=count) for name, _ in wanted}
            for row in collect(wanted, count, out, _source(source, urls, address, seed), client, min_side):
                if isinstance(row, Collected):
                    progress.advance(bars[row.category])
                else:
                    progress.console.print(f"{row.category}: not {row.id}, {row.reason}", markup=False, highlight=False)
    finally:
        client.close()
    print(f"{out}: {count} pictures of each category; who made them and under which license is in {out / 'collected.csv'}")


def _source(name: str, urls: Path, address: str, seed: int) -> Source:
    given = (address,) if address else ()
    if name == "openverse":
        return openverse(*given)
    if name == "wikimedia":
        return wikimedia(*given)
    if name == "unsplash":
        return unsplash(os.environ.get("CHROMAROUTE_UNSPLASH_KEY", ""), *given)
    if name == "urls":
        return url_lists(urls, seed)
    raise DataError(f"there is no source {name!r}: give openverse, wikimedia, unsplash or urls.")


def prepare(
    source: Annotated[Path, typer.Argument(help="A folder with a folder of pictures for each category, an archive, or shards.")],
    out: Annotated[Path, typer.Option(help="The manifest to write.")] = INDEX,
    split: Annotated[str, typer.Option(help="Put every picture into this split; by default the content decides.")] = "",
) -> None:
    """Make a manifest of a data set; what cannot be used is set aside and listed."""
    prepared = prepare_entries(source, split)
    write_index(prepared.entries, out)
    write_set_aside(prepared.set_aside, out)
    print(prepared.summary())
    print(f"{len(prepared.entries)} pictures in {out}")


def colors(
    data: Data = INDEX,
    split: Split = "train",
    sets: SetNames = [],  # noqa: B006 (typer reads the default and does not change it)
    category: Annotated[str, typer.Option(help="Only this category.")] = "",
    limit: Limit = 0,
    expert: Annotated[Path | None, typer.Option(help="Folder of a finished run that paints, to be held against the data.")] = None,
    out: Annotated[Path, typer.Option(help="The picture to draw; NAME-density.png and NAME-chroma.png come beside it.")] = Path(
        "colors.png"
    ),
    device: Device = "cpu",
) -> None:
    """Draw the colors of a data set: the commonest, where each category's lie, how vivid they are; and an expert's beside."""
    entries = [entry for entry in select(read_index(data), tuple(sets), split, limit) if category in ("", entry.category)]
    names = tuple(sorted({entry.category for entry in entries}))
    if not names:
        there = sorted({entry.category for entry in read_index(data)})
        raise DataError(
            f"{data} has no such pictures: the categories are {', '.join(there)}. See --category, --split and --set-name."
        )
    place = single_process(device).device
    painter = load_trained(expert, place) if expert else None
    side = painter.size if painter else SIDE
    pack = load_pack(entries, names, side, data.parent / "packs")
    found = count_colors(pack)
    draw_colors(found, category or ", ".join(sets) or data.stem, out)
    for color, share in zip(found.colors[:10], found.shares[:10], strict=False):
        print("#{:02x}{:02x}{:02x} {:.1%}".format(*color, share))
    own = {name: pack.pick((pack.labels == index).nonzero()[0]) for index, name in enumerate(names)}
    true = {name: pack_counts(each, side) for name, each in own.items()}
    painted = {}
    if painter is not None:
        network = painter.network
        painted = {name: pack_counts(each, side, lambda L: network(L.to(place))) for name, each in own.items()}
    replace_file(density := out.with_stem(f"{out.stem}-density"), charts.densities(true, painted, CELL * CELLS / 2))
    shown = distances(names, [{"truth": true[name], "painted": painted.get(name, true[name])} for name in names])
    replace_file(chroma := out.with_stem(f"{out.stem}-chroma"), charts.chroma(shown, CHROMA_STEP, painted=painter is not None))
    if painter is not None:
        told = ", ".join(f"{name} {far:.3f}" for name, far in shown["painted"]["by_category"].items())
        print(f"Jensen-Shannon divergence of what it paints from the data, in bits: all {shown['painted']['all']:.3f}; {told}")
    print(out, density, chroma)
