"""Images of libvips for decoders: opened strictly, and their pixels as samples."""

from typing import Any

import numpy as np

from models.errors import BrokenPicture
from models.libvips import libvips
from models.samples import Samples, scaled_levels


def open_image(loader: str, content: bytes, **options: Any) -> Any:
    """An image whose pixels are not read yet, by a loader such as `pngload_buffer`.

    Raises:
        BrokenPicture: the header cannot be read.
    """
    try:
        return getattr(libvips().Image, loader)(content, **{"fail_on": "error", "access": "sequential", **options})
    except libvips().Error as error:
        raise BrokenPicture(f"the picture's header cannot be read ({_reason(error)}): export it again.") from error


def is_gray(image: Any) -> bool:
    """Whether an image has one color, whatever its other bands are."""
    return image.interpretation in ("b-w", "grey16") or image.bands < 3


def read_samples(image: Any, has_alpha: bool, white_is_zero: bool = False) -> tuple[Samples, tuple[str, ...]]:
    """The pixels of an image, and notes. Bands beyond those of the color model and alpha, such as infrared, are left out.

    Raises:
        BrokenPicture: it cannot be decoded completely.
    """
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    if image.interpretation in ("lab", "labs"):
        image, profile = image.colourspace("rgb16" if image.interpretation == "labs" else "srgb"), b""
    colors = 4 if image.interpretation == "cmyk" else 1 if is_gray(image) else 3
    has_alpha = has_alpha and image.bands > colors
    try:
        values = image.extract_band(0, n=colors + has_alpha).numpy().reshape(image.height, image.width, colors + has_alpha)
    except libvips().Error as error:
        raise BrokenPicture(f"the picture is truncated or damaged ({_reason(error)}): export it again.") from error
    levels: Any
    levels, notes = scaled_levels(values[..., :colors], white_is_zero)
    alpha: Any = None
    if has_alpha:
        alpha = values[..., colors]
        if alpha.dtype != levels.dtype:
            alpha = scaled_levels(alpha)[0]
    return Samples(np.ascontiguousarray(levels if colors > 1 else levels[..., 0]), alpha, profile), notes


def _reason(error: Any) -> str:
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or "no reason given"
