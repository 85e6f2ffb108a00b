"""The files in the folder of a run: their names, and its metrics."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

LAST, BEST, METRICS = "last.safetensors", "best.safetensors", "metrics.jsonl"
SAMPLES, SNAPSHOTS = "samples", "snapshots"


def read_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """The losses and scores of each validation of a run, in order."""
    path = folder / METRICS
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            with suppress(json.JSONDecodeError):  # a run that was killed while it wrote its last line
                row = json.loads(line)
                if isinstance(row, dict) and {"step", "score"} <= row.keys():
                    yield row


def append_metrics(folder: Path, row: dict[str, Any]) -> None:
    """Add the losses and scores of a validation."""
    with (folder / METRICS).open("a") as file:
        file.write(json.dumps(row) + "\n")


def format_metrics(row: dict[str, Any]) -> str:
    """The numbers of a row of metrics as text for a terminal."""
    return ", ".join(f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float) and name != "seconds")
