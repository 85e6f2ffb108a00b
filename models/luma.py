"""The BT.601 luma of a picture in any of Pillow's modes, with 8 bits or at the full depth of deeper grayscale pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from models.errors import BrokenPicture

UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
SampleArray = UInt8Array | UInt16Array

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0


def luma_plane(image: Image.Image) -> UInt8Array:
    """The luma `(h,w)` of a picture in whole levels of 0 to 255, as Pillow's `convert("L")` computes it.

    Raises:
        BrokenPicture: a CIELAB picture, which Pillow does not convert.
    """
    if image.mode == "LAB":
        raise BrokenPicture("a CIELAB picture cannot be read: export it as gray or RGB.")
    return np.array((image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("L"))


def luma16_plane(image: Image.Image) -> UInt16Array | None:
    """The luma `(h,w)`, 0 to 65535, of a grayscale picture with more than 8 bits; None for other pictures.

    Pillow clips such pictures at 255 and ignores the photometric interpretation WhiteIsZero of TIFF; here they are scaled, and
    inverted where necessary.

    Raises:
        BrokenPicture: grayscale of 32 bits, whose white level is unknown.
    """
    if image.mode == "F":
        return _float_levels(np.asarray(image))
    if not image.mode.startswith("I"):
        return None
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if bits > 16:
        raise BrokenPicture(f"gray of {bits} bits cannot be read: export the picture with 8 or 16.")
    white = 2**bits - 1
    table = (np.minimum(np.arange(2**16), white) * (65_535 / white)).round().astype(np.uint16)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        table = 65_535 - table
    levels: UInt16Array = table[np.asarray(image).astype(np.uint16, copy=False)]
    return levels


def to_uint8(levels: UInt16Array) -> UInt8Array:
    """Levels of 0 to 65535 as levels of 0 to 255."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _float_levels(levels: NDArray[np.float32]) -> UInt16Array:
    """Floating-point samples range up to 1, 255 or 65535: the smallest of these that holds the maximum."""
    levels = np.nan_to_num(levels)
    brightest = levels.max(initial=0)
    scale = 65_535.0 if brightest <= 1 else 257.0 if brightest <= 255 else 1.0
    return (levels * scale).clip(0, 65_535).round().astype(np.uint16)
