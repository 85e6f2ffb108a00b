"""The BT.601 luma of RGB, with 8 or 16 bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
SampleArray = UInt8Array | UInt16Array

LUMA = (0.299, 0.587, 0.114)  # BT.601, the weights of Pillow's convert("L")


def luma_of_rgb(rgb: UInt8Array) -> UInt8Array:
    """The luma `(h,w)` of RGB `(h,w,3)` in whole levels of 0 to 255, as Pillow's `convert("L")` computes it."""
    return np.asarray(Image.fromarray(rgb).convert("L"))


def luma16_of_rgb(rgb: UInt16Array) -> UInt16Array:
    """The luma `(h,w)` of RGB `(h,w,3)` in whole levels of 0 to 65535."""
    luma: UInt16Array = (rgb.astype(np.float32) @ np.array(LUMA, np.float32)).round().astype(np.uint16)
    return luma


def to_uint8(levels: UInt16Array) -> UInt8Array:
    """Levels of 0 to 65535 as levels of 0 to 255."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
