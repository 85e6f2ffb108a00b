"""Tone normalization: what the networks see of a picture gets the whole range of tones, whether a print is faded, dark or pale.

The output is not affected: its luma is that of the input.
"""

from array_api_compat import array_namespace

from models.lab import Array

DARKEST, BRIGHTEST = 0.005, 0.995  # the quantiles that become black and white
LEAST_RANGE = 20.0  # in L: a picture of fewer tones is not stretched more than this one, so that noise stays small


def normalized_tones(L: Array) -> Array:
    """Lightness `(n,1,h,w)` in [0, 100], stretched so that the darkest and the brightest tones of each picture are 0 and 100.

    The quantiles are those of every second pixel in both directions.
    """
    xp = array_namespace(L)
    ordered = xp.sort(xp.reshape(L[:, :, ::2, ::2], (L.shape[0], -1)), axis=1)
    last = ordered.shape[1] - 1
    low, high = (ordered[:, round(share * last), None, None, None] for share in (DARKEST, BRIGHTEST))
    middle, half = (low + high) / 2, xp.clip((high - low) / 2, LEAST_RANGE / 2, None)
    normalized: Array = xp.clip(50 + (L - middle) / half * 50, 0, 100)
    return normalized
