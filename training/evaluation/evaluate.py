"""Evaluates a bundle on pictures with known colors, with the code that serves it."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from models.bundle import load_bundle
from models.engine_options import usable_cores
from models.runtime import Runtime
from models.torch_networks import TorchEnsemble
from training.data.dataset_index import DataError, Entry, read_pictures
from training.data.packs import decode_rgb
from training.evaluation.build_report import build_report
from training.evaluation.context import build_context
from training.evaluation.image_result import ImageResult, evaluate_image
from training.evaluation.judge import Judge
from training.evaluation.results import Report
from training.evaluation.scores import METRICS, ScoreTable

CHUNK = 64  # pictures in memory at a time


@dataclass(frozen=True)
class Evaluation:
    """The report of an evaluation, and the scores of each picture, whose names are `names`."""

    report: Report
    names: Sequence[str]
    table: ScoreTable

    def to_csv(self) -> str:
        """All scores of all pictures, with a row for each picture and method."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("picture", "category", "method", *METRICS))
        for index, name in enumerate(self.names):
            for method, values in self.table.values.items():
                cells = (values[metric][index] for metric in METRICS)
                texts = ("" if np.isnan(value) else f"{value:.4f}" for value in cells)
                rows.writerow((name, self.table.categories[index], method, *texts))
        return text.getvalue()


def evaluate(
    bundle: TorchEnsemble,
    others: Mapping[str, TorchEnsemble],
    entries: Sequence[Entry],
    index_entries: Sequence[Entry],
    judge: Judge | None = None,
    risk: float = 0.1,
) -> Evaluation:
    """Evaluate a bundle, and other bundles by name, on the pictures of `entries`.

    The constant baseline is the mean ab of these very pictures, which favors it.

    Args:
        bundle: the evaluated one.
        others: to compare with, by name.
        entries: the pictures.
        index_entries: all entries of the dataset index, to find out whether judge and bundles were trained on the same pictures.
        judge: scores colorized pictures; None for no semantic scores.
        risk: the share of misrouted pictures for which a threshold is searched.

    Raises:
        DataError: a picture does not exist, or the judge has none of the categories.
    """
    if judge and not {entry.category for entry in entries} & set(judge.categories):
        raise DataError(f"the judge has the classes {', '.join(judge.categories)}, and none of the pictures is of these.")
    bundles = {"": bundle, **others}
    context = build_context(bundles, entries, judge)
    for ensemble in bundles.values():
        for name in ensemble.bundle.experts:  # here, and not by several threads at once
            ensemble.runtime.place(ensemble.bundle.experts[name])
    names: list[str] = []
    results: list[ImageResult] = []
    with _one_thread_each() as workers, ThreadPoolExecutor(workers) as pool:
        pictures = iter(track(read_pictures(entries), description="evaluating", total=len(entries), console=Console(stderr=True)))
        while chunk := list(islice(pictures, CHUNK)):
            names += [entry.name for entry, _ in chunk]
            results += pool.map(lambda item: evaluate_image(context, item[0], decode_rgb(item[1])), chunk)
    table = ScoreTable.from_results(results)
    report = build_report(context, results, table, entries, index_entries, judge, risk)
    return Evaluation(report, names, table)


def load_bundles(folders: Sequence[Path], runtime: Runtime) -> dict[str, TorchEnsemble]:
    """Bundles by name; by name and digest if names occur twice.

    Raises:
        BundleError: a bundle cannot be loaded.
        DataError: a bundle is given twice.
    """
    loaded = [load_bundle(folder) for folder in folders]
    names = Counter(bundle.manifest.name for bundle in loaded)
    by_name = {
        bundle.manifest.name if names[bundle.manifest.name] == 1 else bundle.label: TorchEnsemble(bundle, runtime)
        for bundle in loaded
    }
    if len(by_name) < len(loaded):
        raise DataError(f"one of the bundles {', '.join(map(str, folders))} is given twice: give each once.")
    return by_name


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """As many workers as cores, with one thread of torch each, which is fastest for small pictures."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield min(8, usable_cores())
    finally:
        torch.set_num_threads(before)
