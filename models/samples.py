"""Pixels as a file has them, of any depth and color model, and the luma that is made of them."""

import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.libvips import libvips
from models.luma import SampleArray, UInt8Array, UInt16Array, luma16_of_rgb, luma_of_rgb, to_uint8

_BANDS = {1: "gray", 3: "rgb", 4: "cmyk"}
_INTERPRETATIONS = {
    ("gray", 8): "b-w", ("gray", 16): "grey16", ("rgb", 8): "srgb", ("rgb", 16): "rgb16", ("cmyk", 8): "cmyk", ("cmyk", 16): "cmyk",
}  # fmt: skip
_PROFILE_SPACES = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK"}  # bytes 16 to 20 of an ICC profile
PROFILE_LEFT_OUT = "the ICC profile does not fit the picture, whose levels are read as sRGB"  # a note
_MOST = 1e30  # of floating-point levels, so that differences are finite
_GRID = np.linspace(0, 255, 9).astype(np.uint8)


@dataclass(frozen=True)
class Samples:
    """Pixels of a file.

    Args:
        levels: `(h,w)` gray, `(h,w,3)` RGB or `(h,w,4)` CMYK (255 is full ink), uint8 or uint16.
        alpha: `(h,w)`, of the same depth, or None.
        profile: the ICC profile of the levels; empty for none.
    """

    levels: SampleArray
    alpha: SampleArray | None = None
    profile: bytes = b""

    @property
    def model(self) -> str:
        """The color model."""
        return _BANDS[1 if self.levels.ndim == 2 else self.levels.shape[2]]

    @property
    def is_16_bit(self) -> bool:
        """Whether the levels have 16 bits."""
        return self.levels.dtype == np.uint16


def luma_of(samples: Samples) -> tuple[UInt8Array, UInt16Array | None, tuple[str, ...]]:
    """The BT.601 luma `(h,w)` in 0 to 255; in 0 to 65535 as well, if the samples have 16 bits; and notes.

    The levels are converted to sRGB first if they have a profile of another color space. Without a profile, CMYK is converted as by
    Pillow. The luma of 8 bits is what Pillow's `convert("L")` gives.
    """
    levels: Any = samples.levels
    notes: tuple[str, ...] = ()
    if samples.profile and not is_srgb(samples.profile, samples.model):
        converted = _to_srgb(samples)
        if converted is None:
            notes = (PROFILE_LEFT_OUT,)
        else:
            levels = converted
    if levels.ndim == 3 and levels.shape[2] == 4:
        levels = _rgb_of_cmyk(levels)
    if not samples.is_16_bit:
        return (levels if levels.ndim == 2 else luma_of_rgb(levels)), None, notes
    luma16 = levels if levels.ndim == 2 else luma16_of_rgb(levels)
    return to_uint8(luma16), luma16, notes


def scaled_levels(values: NDArray[Any], white_is_zero: bool = False) -> tuple[SampleArray, tuple[str, ...]]:
    """Levels of any numeric type as uint8 or uint16, and notes.

    Unsigned levels of 8 and 16 bits stay as they are. Others have 1 (if floating-point), 255, 65535 or the largest number of their
    type (if whole) as white, if the brightest 0.1% of them are near it: a few that are brighter should not make the picture dark.
    If they are not, as in linear pictures with a high dynamic range, the brightest 0.1% become white; and if there are negatives,
    the darkest 0.1% become black. Levels that are not numbers are black.
    """
    if values.dtype in (np.int8, np.int16):
        unsigned = values.view(f"u{values.itemsize}")
        if _roughness(unsigned) < _roughness(values):  # a wrong sign tears the picture where it changes
            inverted = np.iinfo(unsigned.dtype).max - unsigned if white_is_zero else unsigned
            return inverted, ("the file says that its levels are signed, but they are not",)
    if values.dtype in (np.uint8, np.uint16):
        return values, ()
    floats = values.astype(np.float32)
    some = floats[:: max(1, len(floats) // 2000)]
    some = some[np.isfinite(some)].clip(-_MOST, _MOST)
    low, high = 0.0, 1.0
    if some.size:  # without the extremes themselves, of which a small picture has one in 0.1%
        low, high = float(np.quantile(some, 0.001, method="higher")), float(np.quantile(some, 0.999, method="lower"))
    is_whole = np.issubdtype(values.dtype, np.integer)
    largest = float(np.iinfo(values.dtype).max) if is_whole else 65_535.0
    whites = [white for white in (*(() if is_whole else (1.0,)), 255.0, 65_535.0, largest) if white <= largest]
    known = [white for white in whites if high <= 1.5 * white and (white == whites[0] or high >= white / 4)]
    black, notes = 0.0, tuple[str, ...]()
    if not known or low < -0.02 * high:  # a little below 0 is noise
        black = min(low, 0.0)
        white = high if high > black else black + max(1.0, abs(black))
        notes = ("the levels have no known white: the brightest 0.1% became white, and if there are negatives, the darkest black",)
    else:
        white = known[0]
    np.nan_to_num(floats, copy=False, nan=black)
    np.clip(floats, black, white, out=floats)
    floats -= black
    floats *= 65_535 / (white - black)
    levels = np.rint(floats, out=floats).astype(np.uint16)
    return (65_535 - levels if white_is_zero else levels), notes


def _roughness(values: NDArray[Any]) -> float:
    """The mean difference of neighbors in some rows."""
    rows = values[:: max(1, len(values) // 500)].astype(np.int32)
    return float(np.abs(np.diff(rows, axis=1)).mean()) if values.shape[1] > 1 else 0.0


def is_readable(profile: bytes) -> bool:
    """Whether an ICC profile can be read at all, and is whole."""
    if int.from_bytes(profile[:4]) > len(profile):
        return False
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ImageCms.PyCMSError):
        return False
    return True


def is_srgb(profile: bytes, model: str) -> bool:
    """Whether a profile converts every color of a grid to itself, within one level, whatever the name of the profile."""
    key = hashlib.sha256(profile).digest(), model
    known = _known.get(key)
    if known is None:
        if model == "gray":
            probe = Samples(np.arange(256, dtype=np.uint8)[None], profile=profile)
        else:
            probe = Samples(np.stack(np.meshgrid(_GRID, _GRID, _GRID), axis=-1).reshape(27, 27, 3), profile=profile)
        converted = _to_srgb(probe) if model in ("gray", "rgb") else None
        same = probe.levels if probe.levels.ndim == 3 else np.repeat(probe.levels[..., None], 3, axis=2)
        known = converted is not None and int(np.abs(converted.astype(int) - same.astype(int)).max()) <= 1
        _known[key] = known
        while len(_known) > 64:
            _known.popitem(last=False)
    return known


_known: OrderedDict[tuple[bytes, str], bool] = OrderedDict()  # answers of `is_srgb`, because scanners embed the same few profiles


def _to_srgb(samples: Samples) -> SampleArray | None:
    """RGB `(h,w,3)` of the same depth in sRGB, by the profile; None if it does not fit the levels or is damaged."""
    if samples.profile[16:20] != _PROFILE_SPACES[samples.model] or not is_readable(samples.profile):
        return None  # libvips would take a profile of its own
    depth = 16 if samples.is_16_bit else 8
    pyvips = libvips()
    image = pyvips.Image.new_from_array(np.ascontiguousarray(samples.levels))
    image = image.copy(interpretation=_INTERPRETATIONS[samples.model, depth])
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", samples.profile)
    try:
        converted: SampleArray = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=depth).numpy()
    except pyvips.Error:
        return None
    return converted if converted.ndim == 3 and converted.shape[2] == 3 else None


def _rgb_of_cmyk(levels: SampleArray) -> SampleArray:
    if levels.dtype == np.uint8:
        return np.asarray(Image.fromarray(levels, "CMYK").convert("RGB"))
    ink = levels.astype(np.float32) / 65_535
    rgb: UInt16Array = ((1 - ink[..., :3]) * (1 - ink[..., 3:]) * 65_535).round().astype(np.uint16)
    return rgb
