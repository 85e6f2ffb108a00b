"""The BT.601 luma of a picture in any of Pillow's modes, and the full depth of deeper greys."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from models.errors import BrokenPicture

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint16]
Samples = Bytes | Words

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0


def grey_levels(image: Image.Image) -> Bytes:
    """The luma `(h,w)` of a picture in whole levels, as Pillow's `convert("L")` gives it.

    Raises:
        BrokenPicture: a CIELAB picture, which Pillow does not convert.
    """
    if image.mode == "LAB":
        raise BrokenPicture("a CIELAB picture cannot be read: export it as grey or RGB.")
    return np.array((image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("L"))


def deep_levels(image: Image.Image) -> Words | None:
    """Grey `(h,w)` of more than 8 bits in levels of 0 (black) to 65535 (white); None if the picture is not so deep.

    Pillow clips deeper greys at 255 and takes their white for black where a TIFF file says so; here they are scaled and turned.

    Raises:
        BrokenPicture: grey of 32 bits, whose white nothing tells.
    """
    if image.mode == "F":
        return _float_levels(np.asarray(image))
    if not image.mode.startswith("I"):
        return None
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if bits > 16:
        raise BrokenPicture(f"grey of {bits} bits cannot be read: export the picture with 8 or 16.")
    white = 2**bits - 1
    table = (np.minimum(np.arange(2**16), white) * (65_535 / white)).round().astype(np.uint16)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        table = 65_535 - table
    levels: Words = table[np.asarray(image).astype(np.uint16, copy=False)]
    return levels


def eight_bits(levels: Words) -> Bytes:
    """Deep grey in whole levels of 0 to 255."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _float_levels(levels: NDArray[np.float32]) -> Words:
    """Floats count from 0 to 1, to 255 or to 65535, whichever holds them."""
    levels = np.nan_to_num(levels)
    brightest = levels.max(initial=0)
    scale = 65_535.0 if brightest <= 1 else 257.0 if brightest <= 255 else 1.0
    return (levels * scale).clip(0, 65_535).round().astype(np.uint16)
