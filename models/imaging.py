"""Bytes to `Picture`: any mode, upright, capped before decoding; and what the networks see of it."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from models.errors import BrokenPicture, NotAPicture, OptionError, PictureError, PictureTooLarge
from models.greys import Bytes, Words, deep_levels, eight_bits, grey_levels
from models.lab import luma_to_lightness
from models.metadata import Metadata, read_metadata

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
WRITES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff"}

MAX_PIXELS = 50_000_000
LONGEST = 2.0  # sides of the working picture: a longer panorama is squeezed to this aspect for the networks, never for the answer

_LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels; the encoders' own limits
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|GIF8", re.DOTALL)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# The same for planes, because Pillow turns no plane of 16 bits sideways
_TURNS: dict[Image.Transpose, Callable[[Bytes | Words], Bytes | Words]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: np.fliplr,
    Image.Transpose.ROTATE_180: lambda plane: np.rot90(plane, 2),
    Image.Transpose.FLIP_TOP_BOTTOM: np.flipud,
    Image.Transpose.TRANSPOSE: np.transpose,
    Image.Transpose.ROTATE_270: lambda plane: np.rot90(plane, -1),
    Image.Transpose.TRANSVERSE: lambda plane: np.rot90(np.transpose(plane), 2),
    Image.Transpose.ROTATE_90: np.rot90,
}
Plane = TypeVar("Plane", Bytes, Words)


@dataclass(frozen=True)
class Picture:
    """A picture without colour.

    Args:
        luma: BT.601 luma `(h,w)` in whole levels.
        alpha: `(h,w)`, if it has one.
        format: what it came in.
        deep: the luma in levels of 0 to 65535, of grey that has more than 8 bits.
        metadata: what the file says beside its pixels.
    """

    luma: Bytes
    alpha: Bytes | None
    format: str
    deep: Words | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.luma.shape[1])


def decode(content: bytes, max_pixels: int = MAX_PIXELS, wanted: str = "auto") -> Picture:
    """The picture in `content`: JPEG, PNG, WebP, TIFF, BMP or GIF (first frame), in any mode and EXIF orientation.

    Colour is dropped as Pillow's `convert("L")` drops it, after conversion to sRGB where there is an ICC profile. Where a JPEG file
    will be answered by one (`wanted` is its format, or `auto`), its luma plane is taken as it stands.

    Raises:
        NotAPicture: the bytes are in none of these formats.
        BrokenPicture: they begin like one and cannot be decoded.
        PictureTooLarge: more than `max_pixels`; nothing was decoded.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=READS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(f"the picture has more than {max_pixels} pixels, which is the limit: send a smaller one.") from error
    except UnidentifiedImageError as error:
        if _SIGNATURE.match(content):
            raise BrokenPicture(
                "the picture is damaged at its beginning, or of a variant that cannot be read (16-bit colour TIFF is one): "
                "export it again, with 8 bits a channel."
            ) from error
        raise NotAPicture(f"this is not a picture that can be read: send one of {', '.join(READS)}.") from error
    except MemoryError:
        raise
    except Exception as error:  # a header that lies makes a decoder raise almost anything
        raise BrokenPicture(f"the picture's header cannot be read ({error}): export it again.") from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise PictureTooLarge(
                f"the picture has {width} x {height} = {width * height} pixels, and the limit is {max_pixels}: send a smaller one."
            )
        source = "JPEG" if image.format == "MPO" else image.format or "PNG"
        metadata = read_metadata(image, _UPRIGHT.get(_orientation(image)))
        try:
            profile = _foreign_profile(image)
            if source == "JPEG" and wanted in ("auto", "jpeg") and profile is None:
                image.draft("L", image.size)  # the luma plane itself, without a way through RGB
            picture = _to_srgb(image, profile) if profile else image
            deep = deep_levels(picture)
            if deep is not None and profile is not None:
                deep = _deep_to_srgb(deep, profile)
            luma = grey_levels(picture) if deep is None else eight_bits(deep)
            alpha = _alpha(picture) if picture.has_transparency_data else None
        except (MemoryError, PictureError):
            raise
        except Exception as error:
            raise BrokenPicture(f"the picture is cut off or damaged ({error}): export it again.") from error
        turn = _UPRIGHT.get(_orientation(image))  # again, because Pillow turns a TIFF file while it loads
    alpha = None if alpha is None else _turned(alpha, turn)
    deep = None if deep is None else _turned(deep, turn)
    return Picture(_turned(luma, turn), alpha, source, deep, metadata)


def network_input(luma: Bytes, size: int, stride: int) -> Tensor:
    """Lightness `(1,1,h,w)` in [0, 100] of a luma plane, its short side `size`, both sides multiples of `stride`."""
    height, width = luma.shape
    scale = size / min(height, width)
    sides = [max(1, round(min(side * scale, LONGEST * size) / stride)) * stride for side in (width, height)]
    small = Image.fromarray(luma).resize((sides[0], sides[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]


def output_format(wanted: str, picture: Picture) -> str:
    """The format of the answer: as wanted, and for `auto` that of the upload, or PNG where it cannot hold the answer.

    Raises:
        OptionError: `wanted` is neither `auto` nor one of `WRITES`, or cannot hold a picture that long.
    """
    check_format(wanted)
    source = picture.format.lower()
    longest = max(picture.width, picture.height)
    if wanted == "auto":
        return source if source in WRITES and longest <= _LONGEST_SIDE.get(source, longest) else "png"
    if longest > _LONGEST_SIDE.get(wanted, longest):
        raise OptionError(
            "format", wanted, f"png or tiff for a picture of {longest} pixels ({wanted} holds {_LONGEST_SIDE[wanted]})"
        )
    return wanted


def check_format(wanted: str) -> None:
    """Raise an OptionError unless `wanted` is `auto` or one of `WRITES`."""
    if wanted != "auto" and wanted not in WRITES:
        raise OptionError("format", wanted, ("auto", *WRITES))


def _foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The picture's ICC profile, unless it is sRGB's or cannot be used: the pixels are still good then."""
    content = image.info.get("icc_profile")
    if not content:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        return None if "srgb" in ImageCms.getProfileDescription(profile).lower() else profile
    except (OSError, ImageCms.PyCMSError):
        return None


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    grey = image.mode in ("L", "LA")
    if not grey and image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    bands = image.getchannel("L") if grey else image
    mode = "RGBA" if bands.mode == "RGBA" else "RGB"
    try:
        converted = ImageCms.profileToProfile(bands, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except ImageCms.PyCMSError:  # a profile for another mode
        return image
    if converted is None:
        return image
    if image.mode == "LA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _deep_to_srgb(levels: Words, profile: ImageCms.ImageCmsProfile) -> Words:
    """Deep grey through the curve that the profile has at 256 levels: Pillow converts no deeper ones."""
    ramp = np.arange(256, dtype=np.uint8)
    converted = _to_srgb(Image.fromarray(ramp[None]), profile)
    curve = np.interp(np.arange(65_536), ramp * 257.0, np.asarray(converted.convert("L"))[0] * 257.0)
    turned: Words = curve.round().astype(np.uint16)[levels]
    return turned


def _alpha(image: Image.Image) -> Bytes:
    if image.mode.startswith("I"):  # of deep grey one level is the transparent one
        return np.where(np.asarray(image) == image.info.get("transparency"), 0, 255).astype(np.uint8)
    return np.array(image.getchannel("A") if "A" in image.getbands() else image.convert("RGBA").getchannel("A"))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def _turned(plane: Plane, turn: Image.Transpose | None) -> Plane:
    if turn is None:
        return plane
    turned: Plane = np.ascontiguousarray(_TURNS[turn](plane))
    return turned
