"""Commands for data: collect, prepare, palette."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.progress import Progress

from models.atomic_files import replace_file
from training.cli.options import INDEX, Categories, Data, Device, Limit, SetNames, Split, select_entries
from training.collect.collection import Collected, collect
from training.collect.http_client import RateLimitedClient
from training.collect.sources import Source, openverse, unsplash, url_lists, wikimedia
from training.data.dataset_index import DataError, write_excluded, write_index
from training.data.packs import load_pack
from training.data.prepare import prepare as prepare_entries
from training.loop.distributed import single_process
from training.metrics.distribution import CELL, CELLS, CHROMA_STEP, chroma_histogram, compare_distributions, pack_counts
from training.metrics.palette import SIDE, count_colors, draw_palette
from training.report import charts
from training.runs.trained import load_colorizer


def collect_pictures(
    categories: Annotated[list[str], typer.Argument(help="Names of categories; NAME=QUERY searches for other words.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures of each category.")] = 1000,
    out: Annotated[Path, typer.Option(help="A folder; every category gets a folder in it.")] = Path("photographs"),
    source: Annotated[str, typer.Option(help="openverse, wikimedia, unsplash or urls.")] = "openverse",
    urls: Annotated[Path, typer.Option(help="For the source urls: a folder with QUERY.txt files, one address per line.")] = Path(
        "urls"
    ),
    address: Annotated[str, typer.Option(help="Another address of the source's API.")] = "",
    contact: Annotated[str, typer.Option(help="Your address, which the sources ask for.")] = "",
    interval: Annotated[float, typer.Option(min=0, help="Seconds between requests to one host.")] = 1.0,
    min_side: Annotated[int, typer.Option(min=32, help="The smallest allowed side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the order of URL lists.")] = 0,
) -> None:
    """Collect photographs for named categories, with license and author; pictures that exist are not fetched again.

    Unsplash needs a key, in CHROMAROUTE_UNSPLASH_KEY.
    """
    queries = [(name, query or name) for name, _, query in (text.partition("=") for text in categories)]
    agent = f"chromaroute-train/{version('chromaroute')}" + (f" ({contact})" if contact else "")
    client = RateLimitedClient(agent, interval)
    try:
        with Progress() as progress:
            bars = {name: progress.add_task(escape(name), total=count) for name, _ in queries}
            for row in collect(queries, count, out, _source(source, urls, address, seed), client, min_side):
                if isinstance(row, Collected):
                    progress.advance(bars[row.category])
                else:
                    progress.console.print(f"{row.category}: rejected {row.id}, {row.reason}", markup=False, highlight=False)
    finally:
        client.close()
    print(f"{out}: {count} pictures of each category; their authors and licenses are in {out / 'collected.csv'}")


def prepare(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders with a folder of pictures for each category, archives, or folders of shards.")
    ],
    out: Annotated[Path, typer.Option(help="The dataset index to write.")] = INDEX,
    split: Annotated[str, typer.Option(help="The split of all pictures; by default a hash of their content decides.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Only so many pictures of each set, split and category; 0 for all.")] = 0,
) -> None:
    """Write the index of a dataset; pictures that cannot be used are excluded and listed."""
    prepared = prepare_entries(*sources, split=split, limit=limit)
    write_index(prepared.entries, out)
    write_excluded(prepared.excluded, out)
    print(prepared.summary())
    print(f"{len(prepared.entries)} pictures in {out}")


def palette(
    data: Data = INDEX,
    split: Split = "train",
    sets: SetNames = [],  # noqa: B006 (typer reads the default and does not change it)
    categories: Categories = [],  # noqa: B006
    limit: Limit = 0,
    expert: Annotated[Path | None, typer.Option(help="Folder of a finished run of a colorizer, to compare with the data.")] = None,
    out: Annotated[
        Path, typer.Option(help="The picture to write; NAME-density.png and NAME-chroma.png are written beside it.")
    ] = Path("palette.png"),
    device: Device = "cpu",
) -> None:
    """Plot the most common colors of a dataset, their distribution by category, and chroma; with --expert, its colors too."""
    entries = select_entries(data, sets, split, categories, limit)
    names = tuple(sorted({entry.category for entry in entries}))
    torch_device = single_process(device).device
    colorizer = load_colorizer(expert, torch_device) if expert else None
    side = colorizer.size if colorizer else SIDE
    pack = load_pack(entries, names, side, data.parent / "packs")
    found = count_colors(pack)
    replace_file(out, draw_palette(found, ", ".join(categories or sets) or data.stem))
    for color, share in zip(found.colors[:10], found.shares[:10], strict=False):
        print("#{:02x}{:02x}{:02x} {:.1%}".format(*color, share))
    packs = [pack.pick((pack.labels == index).nonzero()[0]) for index in range(len(names))]
    true = [pack_counts(own, side) for own in packs]
    predicted, curves = [], {}
    if colorizer is not None:
        network = colorizer.network
        predicted = [pack_counts(own, side, lambda L: network(L.to(torch_device))) for own in packs]
        compared = compare_distributions(names, predicted, true)
        curves["predicted"] = compared.chroma
        by_category = ", ".join(f"{name} {value:.3f}" for name, value in compared.by_category.items())
        print(f"Jensen-Shannon divergence of predicted from true colors, in bits: all {compared.divergence:.3f}; {by_category}")
    density, chroma = (out.with_stem(f"{out.stem}-{name}") for name in ("density", "chroma"))
    by_name = dict(zip(names, true, strict=True)), dict(zip(names, predicted, strict=False))
    replace_file(density, charts.densities(*by_name, CELL * CELLS / 2))
    shares = chroma_histogram(np.sum([counts / counts.sum() for counts in true], axis=0)).tolist()
    replace_file(chroma, charts.chroma(shares, curves, CHROMA_STEP))
    print(out, density, chroma)


def _source(name: str, urls: Path, address: str, seed: int) -> Source:
    arguments = (address,) if address else ()
    if name == "openverse":
        return openverse(*arguments)
    if name == "wikimedia":
        return wikimedia(*arguments)
    if name == "unsplash":
        return unsplash(os.environ.get("CHROMAROUTE_UNSPLASH_KEY", ""), *arguments)
    if name == "urls":
        return url_lists(urls, seed)
    raise DataError(f"there is no source {name!r}: give openverse, wikimedia, unsplash or urls.")
