"""The command `hints`: how much hints help a bundle."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageOps
from pydantic_core import to_json
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.atomic_files import replace_file
from models.bundle_header import EVERYDAY
from models.loading import load_ensemble
from training.cli.options import INDEX, Categories, Data, Limit, SetNames, Split, select_entries
from training.data.dataset_index import read_pictures
from training.evaluation.hint_scores import hint_rows, hint_scores
from training.report import charts


def hints(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")] = EVERYDAY,
    data: Data = INDEX,
    split: Split = "test",
    sets: SetNames = [],  # noqa: B006 (typer reads the default and does not change it)
    categories: Categories = [],  # noqa: B006
    limit: Limit = 0,
    out: Annotated[Path, typer.Option(help="Folder of the scores: JSON and a chart.")] = Path("hints"),
) -> None:
    """Measure how much the true colors of 0 to 50 random points help a bundle."""
    entries = select_entries(data, sets, split, categories, limit)
    ensemble = load_ensemble(bundle)
    scores = []
    for number, (_, content) in enumerate(track(read_pictures(entries), "measuring", len(entries), transient=True)):
        with Image.open(io.BytesIO(content)) as image:
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        scores.append(hint_scores(ensemble, rgb, seed=number))
    rows = hint_rows(scores)
    table = Table("hints", "PSNR", "gain", "error of ab", "of segments without a hint", title=f"{len(scores)} pictures")
    for row in rows:
        values = (f"{row.psnr.value:.2f} dB", f"{row.gain.value:+.2f} dB", f"{row.error.value:.3f}", f"{row.elsewhere.value:.3f}")
        table.add_row(str(row.hints), *values)
    Console().print(table)
    names = sorted({f"{entry.set}-{entry.split}" for entry in entries})
    report = {"bundle": ensemble.bundle.label, "pictures": len(scores), "sets": names, "rows": [asdict(row) for row in rows]}
    replace_file(out / "hints.json", to_json(report, indent=1) + b"\n")
    replace_file(out / "hints.png", charts.hints(rows))
