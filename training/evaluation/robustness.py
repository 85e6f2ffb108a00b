"""How a bundle colorizes old prints: its errors on variations of pictures whose true colors are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models import chroma
from models.ensemble import Ensemble
from models.imaging import Picture
from models.router import Router
from training.evaluation.results import RobustnessResult
from training.metrics.bootstrap import UNDEFINED, Bootstrap
from training.metrics.color import Floats
from training.metrics.evenness import blotches

BORDER = 0.08  # of the sides of a picture, added on every side
BORDER_LEVEL = 235
GRAIN = 12.0  # standard deviation, in levels of 255
ORTHOCHROMATIC = (0.0, 0.6, 0.4)  # red, green, blue: film that does not see red

Levels = NDArray[np.uint8]
Variation = Callable[[Levels, Levels], Levels]  # luma `(h,w)` and RGB `(h,w,3)` -> luma


def _mapped(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Variation:
    table = curve(np.arange(256) / 255).clip(0, 1) * 255
    return lambda luma, rgb: table.round().astype(np.uint8)[luma]


def _orthochromatic(luma: Levels, rgb: Levels) -> Levels:
    levels: Levels = (rgb @ np.array(ORTHOCHROMATIC)).round().clip(0, 255).astype(np.uint8)
    return levels


def _soft(luma: Levels, rgb: Levels) -> Levels:
    return np.asarray(Image.fromarray(luma).filter(ImageFilter.GaussianBlur(min(luma.shape) / 100)))


def _grainy(luma: Levels, rgb: Levels) -> Levels:
    noise = np.random.default_rng(0).normal(0, GRAIN, luma.shape)
    return (luma + noise).round().clip(0, 255).astype(np.uint8)


VARIATIONS: Mapping[str, Variation] = {
    "as it is": lambda luma, rgb: luma,
    "orthochromatic": _orthochromatic,
    "faded": _mapped(lambda x: (90 + 115 * x) / 255),
    "dark": _mapped(lambda x: x**1.8),
    "light": _mapped(lambda x: x**0.55),
    "high contrast": _mapped(lambda x: 0.5 + (x - 0.5) * 1.7),
    "soft": _soft,
    "grain": _grainy,
}
BORDERED = "light border"
_MEANS = ("error", "gray_error", "chroma", "true_chroma")


@dataclass(frozen=True)
class VariedScores:
    """The scores of a picture in one variation.

    `error` and `gray_error` are mean distances from the true ab, of the output and of gray; `chroma` and `true_chroma` are means;
    `category` is the most probable one; `frame_chroma` is the mean in an added border; `blotched` is that of
    `training.metrics.evenness`, None where it is not defined.
    """

    error: float
    gray_error: float
    chroma: float
    true_chroma: float
    category: str
    fell_back: bool
    frame_chroma: float | None = None
    blotched: bool | None = None


def varied_scores(ensemble: Ensemble, rgb: Levels, luma: Levels, true_ab: Floats) -> dict[str, VariedScores]:
    """The scores of a picture in every variation.

    Args:
        ensemble: that colorizes it.
        rgb: true colors `(h,w,3)`.
        luma: of the picture `(h,w)`.
        true_ab: `(h,w,2)`.
    """
    scores = {name: _scores(ensemble, vary(luma, rgb), true_ab, margin=0) for name, vary in VARIATIONS.items()}
    margin = max(1, round(BORDER * min(luma.shape)))
    return {**scores, BORDERED: _scores(ensemble, np.pad(luma, margin, constant_values=BORDER_LEVEL), true_ab, margin)}


def robustness_results(
    results: Sequence[Mapping[str, VariedScores]], categories: Sequence[str], router: Router
) -> list[RobustnessResult]:
    """The results of all pictures for each variation; `categories` are the true ones."""
    bootstrap, rows = Bootstrap(len(results)), []
    routable = np.isin(categories, router.categories)
    for name in results[0]:
        own = [result[name] for result in results]
        column = {
            field: np.array([getattr(row, field) for row in own], float)
            for field in ("error", "gray_error", "chroma", "true_chroma")
        }
        correct = np.array([row.category == category for row, category in zip(own, categories, strict=True)])
        fell_back = np.array([row.fell_back for row in own])
        frames = [row.frame_chroma for row in own if row.frame_chroma is not None]
        blotched = np.array([row.blotched for row in own if row.blotched is not None], bool)
        rows.append(
            RobustnessResult(
                variation=name,
                ab_error=bootstrap.ratio(column["error"], column["gray_error"]),
                chroma_ratio=bootstrap.ratio(column["chroma"], column["true_chroma"]),
                top1=Bootstrap(int(routable.sum())).share(correct[routable]) if routable.any() else UNDEFINED,
                fell_back=float(fell_back.mean()),
                confident_wrong=None if routable.all() else float((~fell_back[~routable]).mean()),
                frame_chroma=float(np.mean(frames)) if frames else None,
                blotched=float(blotched.mean()) if len(blotched) else None,
            )
        )
    return rows


def _scores(ensemble: Ensemble, luma: Levels, true_ab: Floats, margin: int) -> VariedScores:
    predicted, decision = ensemble.predict(Picture(luma, None, "png"))
    whole = np.moveaxis(chroma.resize(predicted, (luma.shape[0], luma.shape[1]))[0], 0, 2)
    height, width = true_ab.shape[:2]
    ab = whole[margin : margin + height, margin : margin + width]
    inside = torch.zeros(luma.shape, dtype=torch.bool).numpy()
    inside[margin : margin + height, margin : margin + width] = True
    lengths = np.linalg.norm(whole, axis=2)
    own_luma = luma[margin : margin + height, margin : margin + width]
    return VariedScores(
        error=float(np.linalg.norm(ab - true_ab, axis=2).mean()),
        gray_error=float(np.linalg.norm(true_ab, axis=2).mean()),
        chroma=float(lengths[inside].mean()),
        true_chroma=float(np.linalg.norm(true_ab, axis=2).mean()),
        category=decision.top[0].category,
        fell_back=decision.fell_back,
        frame_chroma=float(lengths[~inside].mean()) if margin else None,
        blotched=None if margin else blotches(own_luma, ab, true_ab),
    )
