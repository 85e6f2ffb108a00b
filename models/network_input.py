"""The input of the networks."""

import numpy as np
from PIL import Image

from models.lab import Float32Array, lightness_levels
from models.luma import UInt8Array

TRUNK_STRIDE = 32  # of the deepest features of a trunk: the sides of its input are multiples of it
MAX_ASPECT = 2.0  # of the input of the networks: longer panoramas are squeezed to it, for the networks only


def network_input(luma: UInt8Array, size: int, stride: int, square: bool = False) -> Float32Array:
    """Lightness `(1,1,h,w)` in [0, 100] of a luma plane; its short side is `size`, or both are; both are multiples of `stride`."""
    height, width = (1, 1) if square else luma.shape
    scale = size / min(height, width)
    sides = [max(1, round(min(side * scale, MAX_ASPECT * size) / stride)) * stride for side in (width, height)]
    small = Image.fromarray(luma).resize((sides[0], sides[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    L: Float32Array = lightness_levels()[np.asarray(small)][None, None]
    return L
