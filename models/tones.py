"""Tone normalization: what the networks see of a picture gets the whole range of tones, whether a print is faded, dark or pale.

The output is not affected: its luma is that of the input.
"""

from torch import Tensor

DARKEST, BRIGHTEST = 0.005, 0.995  # the quantiles that become black and white
LEAST_RANGE = 20.0  # in L: a picture of fewer tones is not stretched more than this one, so that noise stays small


def normalized_tones(L: Tensor) -> Tensor:
    """Lightness `(n,1,h,w)` in [0, 100], stretched so that the darkest and the brightest tones of each picture are 0 and 100.

    The quantiles are those of every second pixel in both directions.
    """
    tones = L[:, :, ::2, ::2].flatten(1)
    count = tones.shape[1]
    ordered = tones.sort(dim=1).values
    low, high = (ordered[:, round(share * (count - 1))].view(-1, 1, 1, 1) for share in (DARKEST, BRIGHTEST))
    middle, half = (low + high) / 2, ((high - low) / 2).clamp(min=LEAST_RANGE / 2)
    return (50 + (L - middle) / half * 50).clamp(0, 100)
