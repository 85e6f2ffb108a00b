"""The plausible colors of a point of a picture, most probable first, from the distribution over ab bins that experts predict.

Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors", section 3.3, suggest such colors, as
centers of clusters. What differs: colors that look alike are merged one after another, so that the result is always the same.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from models.chroma import chroma_planes, join_rgb
from models.lab import Float32Array, lightness_levels
from models.luma import UInt8Array

ALIKE = 15.0  # ab units, within which colors are merged
LEAST = 0.01  # probability of a color that is listed
_DARKEST, _BRIGHTEST = 30.0, 85.0  # L of the colors: outside of it, chroma would hardly be visible


Distribution = tuple[Float32Array, Float32Array, float]  # ab (k,2) of bins, their probabilities (k,), the weight of the expert


class PlausibleColor(BaseModel):
    """A color, as a hint takes it, and its probability."""

    color: str = Field(description="as #rrggbb, about as light as the point")
    probability: float = Field(description="that the point has this color, or one that looks like it")


def plausible_colors(luma: int, distributions: Sequence[Distribution], count: int) -> list[PlausibleColor]:
    """At most `count` colors.

    Args:
        luma: of the point, 0 to 255.
        distributions: of experts: ab `(k,2)` of the bins in CIELAB units, their probabilities `(k,)`, and the weight of the expert.
        count: of colors.
    """
    ab = np.concatenate([centers for centers, _, _ in distributions])
    p = np.concatenate([probabilities * weight for _, probabilities, weight in distributions])
    found: list[tuple[float, Float32Array]] = []
    while len(found) < len(ab) and (left := p > 0).any():
        near = left & (np.linalg.norm(ab - ab[p.argmax()], axis=1) <= ALIKE)
        found.append((float(p[near].sum()), p[near] @ ab[near] / p[near].sum()))
        p = np.where(near, 0, p)
    found = [each for each in sorted(found, key=lambda each: -each[0])[:count] if each[0] >= LEAST] or found[:1]
    rgb = _shown(luma, np.stack([ab for _, ab in found]).astype(np.float32))
    return [
        PlausibleColor(color="#" + levels.tobytes().hex(), probability=round(probability, 4))
        for (probability, _), levels in zip(found, rgb, strict=True)
    ]


def _shown(luma: int, ab: Float32Array) -> UInt8Array:
    """RGB `(n,3)` of ab `(n,2)`, as a picture of about this luma shows them."""
    level = np.abs(lightness_levels() - lightness_levels()[luma].clip(_DARKEST, _BRIGHTEST)).argmin()
    pixels = np.full((1, len(ab)), level, np.uint8)
    row: UInt8Array = join_rgb(pixels, chroma_planes(pixels, ab.T[None, :, None]))[0]
    return row
