"""How much hints help: scores of a bundle by the number of points whose true color is given.

Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors", section 4.1, measure PSNR by the number of
random points. What differs: also the error of ab, and that of the segments without a hint, into which no color should flow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from models import chroma
from models.ensemble import Ensemble
from models.imaging import Picture
from models.lab import srgb_to_lab
from models.luma import luma_of_rgb
from models.options import Hint
from models.pipeline import merge
from training.metrics.bootstrap import Bootstrap, Estimate
from training.metrics.color import psnr

Floats = NDArray[np.float32]

COUNTS = (0, 1, 2, 5, 10, 20, 50)
_SEGMENT = 200.0  # scale of the segments of Felzenszwalb and Huttenlocher 2004, whose edges are strong


@dataclass(frozen=True)
class HintScores:
    """The scores of a picture with a number of hints.

    `psnr` is in dB; `error` and `elsewhere` are mean distances from the true ab, of all positions and of the segments without a
    hint (None if there are none); `automatic_elsewhere` is the latter without hints.
    """

    psnr: float
    error: float
    elsewhere: float | None
    automatic_elsewhere: float | None


@dataclass(frozen=True)
class HintRow:
    """The scores of all pictures with a number of hints: PSNR and its gain over no hints in dB, the error of ab over that without
    hints, and that of the segments without a hint.
    """

    hints: int
    psnr: Estimate
    gain: Estimate
    error: Estimate
    elsewhere: Estimate


def hint_scores(ensemble: Ensemble, rgb: NDArray[np.uint8], seed: int, counts: Sequence[int] = COUNTS) -> list[HintScores]:
    """The scores of a picture `(h,w,3)`, for each number of random points, of which those of a smaller number are the first."""
    luma = luma_of_rgb(rgb)
    height, width = luma.shape
    rng = np.random.default_rng(seed)
    points = list(zip(rng.integers(0, width, max(counts)).tolist(), rng.integers(0, height, max(counts)).tolist(), strict=True))
    hints = [Hint(x=x, y=y, color=f"#{bytes(rgb[y, x].tolist()).hex()}") for x, y in points]
    colors: Floats = np.moveaxis(rgb, 2, 0)[None].astype(np.float32) / np.float32(255)
    true_ab = srgb_to_lab(colors)[0, 1:]
    segments = felzenszwalb(rgb, scale=_SEGMENT)
    picture, scores = Picture(luma, None, "png"), []
    automatic: Floats | None = None
    for count in counts:
        ab, _ = ensemble.predict(picture, hints=hints[:count])
        colored = torch.from_numpy(np.moveaxis(np.asarray(merge(picture, ab, "png")), 2, 0)[None].astype(np.float32) / 255)
        errors = np.linalg.norm(chroma.resize(ab, (height, width))[0] - true_ab, axis=0)
        automatic = errors if automatic is None else automatic
        outside = ~np.isin(segments, [segments[y, x] for x, y in points[:count]])
        some = bool(outside.any())
        scores.append(
            HintScores(
                float(psnr(colored, torch.from_numpy(colors))[0]),
                float(errors.mean()),
                float(errors[outside].mean()) if some else None,
                float(automatic[outside].mean()) if some else None,
            )
        )
    return scores


def hint_rows(pictures: Sequence[Sequence[HintScores]], counts: Sequence[int] = COUNTS) -> list[HintRow]:
    """The scores of all pictures by the number of hints, of which the first is none."""
    bootstrap, rows = Bootstrap(len(pictures)), []
    first = [scores[0] for scores in pictures]
    for place, count in enumerate(counts):
        own = [scores[place] for scores in pictures]
        outside = [each for each in own if each.elsewhere is not None and each.automatic_elsewhere is not None]
        rows.append(
            HintRow(
                hints=count,
                psnr=bootstrap.mean(np.array([each.psnr for each in own])),
                gain=bootstrap.mean(np.array([each.psnr - none.psnr for each, none in zip(own, first, strict=True)])),
                error=bootstrap.ratio(np.array([each.error for each in own]), np.array([none.error for none in first])),
                elsewhere=Bootstrap(len(outside)).ratio(
                    np.array([each.elsewhere for each in outside]), np.array([each.automatic_elsewhere for each in outside])
                ),
            )
        )
    return rows
