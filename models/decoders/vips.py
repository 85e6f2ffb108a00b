"""libvips for decoders: only the loaders that are meant for files of strangers, strictly, and its pixels as samples."""

from functools import cache
from typing import Any

import numpy as np
import pyvips

from models.errors import BrokenPicture
from models.samples import Samples, scaled_levels

_LOADERS = ("VipsForeignLoadPng", "VipsForeignLoadTiff")


def header(loader: str, content: bytes, **options: Any) -> pyvips.Image:
    """An image whose pixels are not read yet.

    Raises:
        BrokenPicture: the header cannot be read.
    """
    _allow_loaders()
    try:
        return getattr(pyvips.Image, loader)(content, fail_on="error", **options)
    except pyvips.Error as error:
        raise BrokenPicture(f"the picture's header cannot be read ({_reason(error)}): export it again.") from error


def load(loader: str, content: bytes, **options: Any) -> pyvips.Image:
    """An image with its pixels in memory.

    Raises:
        BrokenPicture: it cannot be decoded completely.
    """
    image = header(loader, content, access="sequential", **options)
    try:
        return image.copy_memory()
    except pyvips.Error as error:
        raise BrokenPicture(f"the picture is truncated or damaged ({_reason(error)}): export it again.") from error


def samples_of(image: pyvips.Image, has_alpha: bool, white_is_zero: bool = False) -> tuple[Samples, tuple[str, ...]]:
    """The pixels of a loaded image, and notes. Bands beyond those of the color model and alpha, such as infrared, are left out."""
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    if image.interpretation in ("lab", "labs"):
        image, profile = image.colourspace("rgb16" if image.interpretation == "labs" else "srgb"), b""
    values = image.numpy().reshape(image.height, image.width, image.bands)
    colors = 4 if image.interpretation == "cmyk" else 3 if image.bands >= 3 else 1
    levels: Any
    levels, notes = scaled_levels(values[..., :colors], white_is_zero)
    alpha: Any = None
    if has_alpha and image.bands > colors:
        alpha = values[..., colors]
        if alpha.dtype != levels.dtype:
            alpha = scaled_levels(alpha)[0]
    return Samples(np.ascontiguousarray(levels if colors > 1 else levels[..., 0]), alpha, profile), notes


@cache
def _allow_loaders() -> None:
    """Block all loaders of libvips in this process, except those that are used here."""
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(loader, False)


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or "no reason given"
