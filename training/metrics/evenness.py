"""Blotches: color that varies where a picture is even, on walls and in skies.

This definition is our own. A region is even if the luma varies little around each of its pixels, and is large. It is blotched if
the predicted ab varies much more in it than the true ab does.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, uniform_filter

from training.metrics.color import Floats

NEIGHBORHOOD = 1 / 16  # of the short side: the square around a pixel
EVEN = 4.0  # largest standard deviation of luma in the neighborhood, in levels of 255
LARGE = 0.04  # share of the picture that a region has at least
VISIBLE = 5.0  # standard deviation of ab in a region, in CIELAB units, from which it is seen
FACTOR = 1.5  # that the truth's is exceeded by


def blotches(luma: NDArray[np.uint8], ab: Floats, true_ab: Floats) -> bool | None:
    """Whether a picture has a blotched region; None if it has no even one. `luma` is `(h,w)`, `ab` and `true_ab` `(h,w,2)`."""
    size = max(3, round(NEIGHBORHOOD * min(luma.shape)))
    levels = luma.astype(np.float32)
    variance = uniform_filter(levels**2, size) - uniform_filter(levels, size) ** 2
    regions, count = label(variance < EVEN**2)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    large = [number + 1 for number, pixels in enumerate(sizes) if pixels >= LARGE * luma.size]
    if not large:
        return None
    return any(
        _variation(ab[regions == number]) > max(VISIBLE, FACTOR * _variation(true_ab[regions == number])) for number in large
    )


def _variation(ab: Floats) -> float:
    """The standard deviation of ab `(n,2)`, as a distance."""
    return float(np.sqrt(ab.var(axis=0).sum()))
