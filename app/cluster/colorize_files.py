"""Colorizes folders and buckets with Ray Data: streamed, resumed from what is written, with the decisions in Parquet files.

The paths are listed by one task, and colorized by actors that keep a bundle. For each batch, the decisions are written first and
the pictures after them, so that a picture that exists has a decision; a batch that was interrupted is done again, and its
decisions are written again (the latest counts).
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from app.batches.file_names import output_name
from app.cluster.stores import Store
from app.settings import Settings
from models.decoders import format_of
from models.ensemble import Ensemble
from models.errors import ChromarouteError
from models.imaging import WRITES
from models.loading import load_ensemble
from models.options import AUTO, Options
from models.pipeline import colorize

BATCH = 16  # pictures between two writes of decisions
SHOWN = 100  # problems that are listed; all are in the Parquet files
_FIRST_BYTES = 64  # of a file, which tell its format
LISTED = 1_000  # paths of a block
DECISIONS = "decisions"  # the folder of the Parquet files, in that of the outputs
SCHEMA = pa.schema(
    [
        ("source", pa.string()), ("output", pa.string()), ("category", pa.string()), ("confidence", pa.float64()),
        ("fell_back", pa.bool_()), ("bundle", pa.string()), ("decision", pa.string()), ("problem", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
    ]
)  # fmt: skip


@dataclass
class Summary:
    """Numbers of pictures, and the first problems by source."""

    done: int = 0
    existing: int = 0
    skipped: int = 0
    failed: int = 0
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What an actor needs to know."""

    roots: tuple[Store, ...]
    out: Store
    options: Options
    settings: Settings
    force: bool


class Colorizer:
    """An actor: keeps a bundle, and colorizes batches of paths."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.ensemble: Ensemble = load_ensemble(work.settings.bundle, work.settings.engine_options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """The state (done, existing, skipped, failed) and the problem of each picture."""
        outcomes = [self._attempt(int(root), str(path)) for root, path in zip(batch["root"], batch["path"], strict=True)]
        written = [outcome for outcome in outcomes if outcome.record is not None]
        if written:
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist([outcome.record for outcome in written], SCHEMA), sink)
            self.work.out.write(f"{DECISIONS}/{uuid.uuid4().hex}.parquet", sink.getvalue().to_pybytes())
        for outcome in written:
            if outcome.content is not None:
                self.work.out.write(outcome.output, outcome.content)
        return {
            "state": [outcome.state for outcome in outcomes],
            "source": [outcome.source for outcome in outcomes],
            "problem": [outcome.problem for outcome in outcomes],
        }

    def _attempt(self, number: int, path: str) -> "_Outcome":
        root, options = self.work.roots[number], self.work.options
        source = root.address(path)
        try:
            with root.open(path) as file:
                first = bytes(file.read(_FIRST_BYTES))
                found = format_of(first)
                if found is None:
                    return _Outcome("skipped", source)
                written = (found if found in WRITES else "png") if options.format == AUTO else options.format
                output = output_name(path if len(self.work.roots) == 1 else f"{PurePosixPath(root.path).name}/{path}", written)
                if not self.work.force and self.work.out.has(output):
                    return _Outcome("existing", source)
                picture = first + bytes(file.read())
            changed = options.model_copy(update={"format": written})
            content, _, decision = colorize(picture, self.ensemble, changed, self.work.settings.max_pixels)
        except (ChromarouteError, OSError) as error:
            return _Outcome("failed", source, str(error), _record(source, problem=str(error)))
        record = _record(
            source, output=output, category=decision.category, confidence=decision.confidence, fell_back=decision.fell_back,
            bundle=decision.bundle, decision=decision.model_dump_json(),
        )  # fmt: skip
        return _Outcome("done", source, "", record, output, content)


def run(work: Work, actors: int) -> Iterator[Summary]:
    """Colorize all pictures of the roots; yields the numbers so far after each block.

    Args:
        work: what to do.
        actors: most actors at a time, each with one core.
    """
    summary = Summary()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    colorized: Dataset = ray.data.read_datasource(_Paths(work.roots)).map_batches(
        Colorizer, fn_constructor_args=(work,), batch_size=BATCH, batch_format="numpy", num_cpus=1,
        compute=ActorPoolStrategy(min_size=1, max_size=actors),
    )  # fmt: skip
    for block in colorized.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in block.to_pylist():  # type: ignore[union-attr]
            setattr(summary, row["state"], getattr(summary, row["state"]) + 1)
            if row["state"] == "failed" and len(summary.problems) < SHOWN:
                summary.problems[row["source"]] = row["problem"]
        yield summary


@dataclass(frozen=True)
class _Outcome:
    state: str
    source: str
    problem: str = ""
    record: dict[str, Any] | None = None
    output: str = ""
    content: bytes | None = None


def _record(source: str, **values: Any) -> dict[str, Any]:
    return dict.fromkeys(SCHEMA.names) | {"source": source, "time": int(time.time() * 1e6)} | values


class _Paths(Datasource):
    """The paths below some stores, listed while they are read."""

    def __init__(self, roots: Sequence[Store]) -> None:
        self._roots = tuple(roots)

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        schema = pa.schema([("root", pa.int32()), ("path", pa.string())])
        return [
            ReadTask(lambda number=number, root=root: _listed(number, root), metadata, schema)  # type: ignore[misc]
            for number, root in enumerate(self._roots)
        ]

    def estimate_inmemory_data_size(self) -> int | None:
        return None


def _listed(number: int, root: Store) -> Iterator[pa.Table]:
    paths: list[str] = []
    for path in root.pictures():
        paths.append(path)
        if len(paths) == LISTED:
            yield pa.table({"root": pa.array([number] * len(paths), pa.int32()), "path": paths})
            paths = []
    yield pa.table({"root": pa.array([number] * len(paths), pa.int32()), "path": pa.array(paths, pa.string())})
