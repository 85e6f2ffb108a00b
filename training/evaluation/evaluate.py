"""How good a bundle is on pictures whose colors are known, through the very code that serves it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from models.bundle import load_bundle
from models.ensemble import Ensemble
from models.runtime import Runtime
from training.data.manifest import DataError, Entry, digest, read_pictures
from training.data.packs import decode_rgb
from training.evaluation.distribution import distances
from training.evaluation.frechet import frechet_distance
from training.evaluation.intervals import Interval
from training.evaluation.routing import Routed, least_certain
from training.evaluation.semantic import SemanticJudge, independence, verdicts
from training.evaluation.setting import build_setting
from training.evaluation.study import Study, study
from training.evaluation.table import Scored

CHUNK = 64  # pictures in memory at a time


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the pictures `names`.

    `rivals` maps the prefixes of the ways of other bundles onto their labels, `painters` a category onto its expert;
    `least_certain`, `fell_back` and `no_category` `(n,)` choose pictures, the last those of no category but the fallback's.
    The numbers of each part are its module's.
    """

    bundle: str
    rivals: Mapping[str, str]
    data: str
    sets: Mapping[str, int]
    names: Sequence[str]
    scored: Scored
    least_certain: np.ndarray
    fell_back: np.ndarray
    no_category: np.ndarray
    painters: Mapping[str, str]
    crossing: Mapping[str, Mapping[str, float]]
    routing: dict[str, Any]
    distances: dict[str, Any]
    frechet: dict[str, Any]
    perceptual: dict[str, Any]
    semantic: dict[str, Any]


def evaluate(
    bundle: Ensemble,
    rivals: Mapping[str, Ensemble],
    entries: Sequence[Entry],
    known: Sequence[Entry],
    judge: SemanticJudge | None = None,
    risk: float = 0.1,
) -> Evaluation:
    """Judge a bundle, and others by name beside it, on the pictures of `entries`.

    The constant is the mean ab of these very pictures, which favors it. `known` are all entries of the manifest: whether judge and
    colorizer learned from the same pictures is seen from it.

    Raises:
        DataError: a picture is gone, or the judge knows none of the categories.
    """
    if judge and not {entry.category for entry in entries} & set(judge.categories):
        raise DataError(f"the judge knows {', '.join(judge.categories)}, and none of the pictures is of these.")
    named = {"": bundle, **{f"{name}: ": ensemble for name, ensemble in rivals.items()}}
    setting, titles = build_setting(named, entries, judge)
    for ensemble in named.values():
        for name in ensemble.bundle.experts:  # here, and not by several threads at once
            ensemble.runtime.place(ensemble.bundle.experts[name])
    names: list[str] = []
    studies: list[Study] = []
    with _one_thread_each() as workers, ThreadPoolExecutor(workers) as pool:
        pictures = iter(track(read_pictures(entries), description="evaluating", total=len(entries), console=Console(stderr=True)))
        while chunk := list(islice(pictures, CHUNK)):
            names += [entry.name for entry, _ in chunk]
            studies += pool.map(lambda item: study(setting, item[0], decode_rgb(item[1])), chunk)
    scored = Scored.of(studies)
    named_categories = set(bundle.bundle.manifest.categories) - {bundle.bundle.router.fallback}
    return Evaluation(
        bundle=bundle.bundle.label,
        rivals={prefix: ensemble.bundle.label for prefix, ensemble in named.items() if prefix},
        data=digest(entries),
        sets={name: sum(entry.set == name for entry in entries) for name in sorted({entry.set for entry in entries})},
        names=names,
        scored=scored,
        least_certain=least_certain(studies),
        fell_back=np.array([each.routes["routed"].fell_back for each in studies]),
        no_category=np.array([each.category not in named_categories for each in studies]),
        painters=bundle.bundle.manifest.categories,
        crossing=_crossing(studies),
        routing=_routing(studies, named, risk),
        distances=distances([each.category for each in studies], [each.colors for each in studies]),
        frechet=_frechet(studies, titles),
        perceptual={"name": titles["lpips"], "ways": _means(studies, "lpips")} if "lpips" in titles else {},
        semantic={**verdicts(studies, judge), **independence(judge, named, entries, known)} if judge else {},
    )


def bundles_by_name(folders: Sequence[Path], runtime: Runtime) -> dict[str, Ensemble]:
    """Bundles by name; by name and digest where names are double.

    Raises:
        BundleError: one of them cannot be used.
        DataError: one is given twice.
    """
    loaded = [load_bundle(folder) for folder in folders]
    names = Counter(bundle.manifest.name for bundle in loaded)
    found = {
        bundle.manifest.name if names[bundle.manifest.name] == 1 else bundle.label: Ensemble(bundle, runtime) for bundle in loaded
    }
    if len(found) < len(loaded):
        raise DataError(f"one of the bundles {', '.join(map(str, folders))} is given twice: give each once.")
    return found


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """As many workers as cores, a thread of torch each: small pictures use no more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)


def _crossing(studies: Sequence[Study]) -> dict[str, dict[str, float]]:
    """Mean ΔE00 of the pictures of each category (outer) under each expert: paper 003's figure 9 as numbers."""
    categories = sorted({each.category for each in studies})
    own = {name: [each.crossing for each in studies if each.category == name] for name in categories}
    return {name: {expert: float(np.mean([row[expert] for row in rows])) for expert in rows[0]} for name, rows in own.items()}


def _routing(studies: Sequence[Study], named: Mapping[str, Ensemble], risk: float) -> dict[str, Any]:
    found = {}
    for prefix, ensemble in named.items():
        routed = Routed.of(studies, ensemble.bundle.router, f"{prefix}routed")
        if routed is not None:
            found[f"{prefix}routed"] = {**routed.numbers(risk), "threshold": ensemble.bundle.router.threshold}
    return found


def _frechet(studies: Sequence[Study], names: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for key in ("trunk", "inception"):
        if key in names and len(studies) > 1:
            features = {way: np.array([each.seen[key][way] for each in studies], dtype=float) for way in studies[0].seen[key]}
            ways = {way: frechet_distance(each, features["truth"]) for way, each in features.items() if way != "truth"}
            found[key] = {"name": names[key], "ways": ways}
    return found


def _means(studies: Sequence[Study], witness: str) -> dict[str, float]:
    return {
        way: float(np.mean([each.seen[witness][way] for each in studies])) for way in studies[0].seen[witness] if way != "truth"
    }


def plain(value: Any) -> Any:
    """The same nested value as JSON has it: intervals as `[value, low, high]`, numbers at five places."""
    if isinstance(value, Interval):
        return [plain(each) for each in (value.value, value.low, value.high)]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 5)
    return value
