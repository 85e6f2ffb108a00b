"""How good a bundle is on pictures whose colours are known, through the very code that serves it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from models import chroma
from models.ensemble import Ensemble, Options
from models.imaging import Picture
from models.lab import srgb_to_lab
from training.data.manifest import Entry, read_pictures
from training.data.packs import decode_rgb
from training.evaluation import metrics

Painter = Callable[[Picture, str], Tensor]  # a picture and its true category -> ab


@dataclass
class Tally:
    """Sums over pictures, for one way of colouring."""

    psnr: list[float] = field(default_factory=list)
    colourfulness: list[float] = field(default_factory=list)
    delta_e: list[float] = field(default_factory=list)

    def add(self, rgb: np.ndarray, truth: np.ndarray) -> None:
        """Score one picture, bytes `(h,w,3)`."""
        pair = [torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].float() / 255 for each in (rgb, truth)]
        self.psnr.append(float(metrics.psnr(*pair)))
        self.colourfulness.append(float(metrics.colourfulness(pair[0])))
        self.delta_e.append(metrics.ciede2000(rgb, truth))


@dataclass
class Evaluation:
    """What was measured. `rows` maps a way of colouring onto its scores, the whole first and then by category.

    `confusion` counts the pictures of each category (rows) by the category that the threshold rule sent them to (columns).
    """

    bundle: str
    pictures: int
    router: dict[str, float]
    rows: dict[str, dict[str, float]]
    categories: dict[str, dict[str, float]]
    confusion: dict[str, Any]


def evaluate(ensemble: Ensemble, entries: Sequence[Entry]) -> Evaluation:
    """Score routed (hard and soft), the general expert alone, the expert of the true category, constant mean ab, and grey.

    A picture whose category the bundle does not have counts for the colours and not for the router. The constant is the mean ab
    of these very pictures, which favours it.

    Raises:
        DataError: a picture is gone.
    """
    painters = _painters(ensemble, entries)
    tallies: dict[str, dict[str, Tally]] = {}
    ranks: dict[str, list[int]] = {}
    choices = ensemble.bundle.router.choices
    confusion = np.zeros((len(choices), len(choices)), dtype=int)
    fallbacks = 0
    for entry, truth in track(_truths(entries), description="evaluating", total=len(entries)):
        picture = Picture(np.array(Image.fromarray(truth).convert("L")), None, "PNG")
        route = ensemble.route(picture)
        fallbacks += route.fell_back
        if entry.category in choices:
            confusion[choices.index(entry.category), choices.index(route.category)] += 1
        rank = _rank(ensemble, picture, entry.category)
        if rank is not None:
            ranks.setdefault(entry.category, []).append(rank)
        tally = tallies.setdefault(entry.category, {name: Tally() for name in ("truth", "grey", *painters)})
        tally["truth"].add(truth, truth)
        tally["grey"].add(np.repeat(picture.luma[..., None], 3, axis=2), truth)
        for name, painter in painters.items():
            planes = chroma.chroma_planes(picture.luma, painter(picture, entry.category))
            tally[name].add(chroma.join_rgb(picture.luma, planes), truth)
    whole = _merged(list(tallies.values()))
    known = [rank for some in ranks.values() for rank in some]
    router = {f"top{k}": float(np.mean([rank < k for rank in known])) for k in (1, 3)} if known else {}
    by_category = {
        category: {
            "pictures": float(len(tally["truth"].psnr)),
            **({f"top{k}": float(np.mean([rank < k for rank in ranks[category]])) for k in (1, 3)} if category in ranks else {}),
            **{f"{way} {name}": value for way in ("routed", "general") for name, value in _scores(way, tally).items()},
        }
        for category, tally in sorted(tallies.items())
    }
    return Evaluation(
        ensemble.bundle.label,
        len(entries),
        {**router, "fell_back": fallbacks / len(entries)},
        {name: _scores(name, whole) for name in whole if name != "truth"},
        by_category,
        {"categories": list(choices), "counts": confusion.tolist()},
    )


def _painters(ensemble: Ensemble, entries: Sequence[Entry]) -> dict[str, Painter]:
    fallback = ensemble.bundle.router.fallback
    mean = _mean_ab(entries)
    own = set(ensemble.bundle.manifest.categories)
    return {
        "constant mean ab": lambda picture, category: mean,
        "general": lambda picture, category: ensemble.paint(picture, Options(category=fallback))[0],
        "routed": lambda picture, category: ensemble.paint(picture)[0],
        "routed, soft": lambda picture, category: ensemble.paint(picture, Options(soft=True))[0],
        "true category": lambda picture, category: ensemble.paint(
            picture, Options(category=category if category in own else fallback)
        )[0],
    }


def _truths(entries: Sequence[Entry]) -> Iterator[tuple[Entry, np.ndarray]]:
    for entry, content in read_pictures(entries):
        yield entry, decode_rgb(content)


def _mean_ab(entries: Sequence[Entry]) -> Tensor:
    means = []
    for _, truth in _truths(entries):
        small = np.array(Image.fromarray(truth).resize((32, 32), Image.Resampling.BOX))
        means.append(srgb_to_lab(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)[:, 1:].mean(dim=(2, 3)))
    return torch.cat(means).mean(dim=0).view(1, 2, 1, 1)


def _rank(ensemble: Ensemble, picture: Picture, category: str) -> int | None:
    """How many categories the classifier holds likelier than the true one; None if the bundle does not have it."""
    probabilities = ensemble.probabilities(picture)
    return sum(p > probabilities[category] for p in probabilities.values()) if category in probabilities else None


def _merged(tallies: list[dict[str, Tally]]) -> dict[str, Tally]:
    whole = {name: Tally() for name in tallies[0]}
    for tally in tallies:
        for name, part in tally.items():
            whole[name].psnr += part.psnr
            whole[name].colourfulness += part.colourfulness
            whole[name].delta_e += part.delta_e
    return whole


def _scores(way: str, tally: dict[str, Tally]) -> dict[str, float]:
    """Means over pictures, beside grey's and the truth's."""
    mine, grey, truth = tally[way], tally["grey"], tally["truth"]
    return {
        "psnr": float(np.mean(mine.psnr)),
        "psnr_gain": float(np.mean(mine.psnr) - np.mean(grey.psnr)),
        "colourfulness": float(np.mean(mine.colourfulness) / np.mean(truth.colourfulness)),
        "delta_e": float(np.mean(mine.delta_e)),
        "delta_e_ratio": float(np.mean(mine.delta_e) / np.mean(grey.delta_e)),
    }
