"""Decodes files to `Picture`, in any mode, upright, with a limit on pixels before decoding; and makes the input of the networks."""

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
from models.lab import luma_to_lightness
from models.luma import UInt8Array, UInt16Array, luma16_plane, luma_plane, to_uint8
from models.metadata import Metadata, read_metadata

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
WRITES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff"}

MAX_PIXELS = 50_000_000
MAX_ASPECT = 2.0  # of the input of the networks: longer panoramas are squeezed to it, for the networks only

_LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels; the limits of the encoders
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|GIF8", re.DOTALL)
_ORIENTATION = 0x0112
_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The same for arrays, because Pillow does not rotate images of 16 bits
_TRANSPOSE: dict[Image.Transpose, Callable[[UInt8Array | UInt16Array], UInt8Array | UInt16Array]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: np.fliplr,
    Image.Transpose.ROTATE_180: lambda plane: np.rot90(plane, 2),
    Image.Transpose.FLIP_TOP_BOTTOM: np.flipud,
    Image.Transpose.TRANSPOSE: np.transpose,
    Image.Transpose.ROTATE_270: lambda plane: np.rot90(plane, -1),
    Image.Transpose.TRANSVERSE: lambda plane: np.rot90(np.transpose(plane), 2),
    Image.Transpose.ROTATE_90: np.rot90,
}
Plane = TypeVar("Plane", UInt8Array, UInt16Array)


@dataclass(frozen=True)
class Picture:
    """A decoded picture without color.

    Args:
        luma: BT.601 luma `(h,w)` in levels of 0 to 255.
        alpha: `(h,w)` in levels of 0 to 255, or None.
        format: of the file, in Pillow's spelling.
        luma16: the luma `(h,w)` in levels of 0 to 65535, for grayscale pictures of more than 8 bits.
        metadata: of the file.
    """

    luma: UInt8Array
    alpha: UInt8Array | None
    format: str
    luma16: UInt16Array | None = None
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.luma.shape[1])


def decode(content: bytes, max_pixels: int = MAX_PIXELS, output_format: str = "auto") -> Picture:
    """Decode JPEG, PNG, WebP, TIFF, BMP or GIF (first frame), in any mode and EXIF orientation.

    Color is dropped as by Pillow's `convert("L")`, after a conversion to sRGB if there is an ICC profile. The luma plane of a JPEG
    file is read without a conversion if the output is a JPEG as well (`output_format` is `jpeg` or `auto`).

    Raises:
        NotAPicture: the bytes are in none of these formats.
        BrokenPicture: the format is recognized, but the picture cannot be decoded.
        PictureTooLarge: the picture has more than `max_pixels`; it was not decoded.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=READS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(f"the picture has more than {max_pixels} pixels, which is the limit: send a smaller one.") from error
    except UnidentifiedImageError as error:
        if _SIGNATURE.match(content):
            raise BrokenPicture(
                "the picture is damaged at its beginning, or a variant of its format that is not supported (such as 16-bit color "
                "TIFF): export it again, with 8 bits per channel."
            ) from error
        raise NotAPicture(f"this is not a picture in a supported format: send one of {', '.join(READS)}.") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise almost anything on an invalid header
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
            if source == "JPEG" and output_format in ("auto", "jpeg") and profile is None:
                image.draft("L", image.size)  # the luma plane itself, without a conversion through RGB
            picture = _to_srgb(image, profile) if profile else image
            luma16 = luma16_plane(picture)
            if luma16 is not None and profile is not None:
                luma16 = _luma16_to_srgb(luma16, profile)
            luma = luma_plane(picture) if luma16 is None else to_uint8(luma16)
            alpha = _alpha(picture) if picture.has_transparency_data else None
        except (MemoryError, PictureError):
            raise
        except Exception as error:
            raise BrokenPicture(f"the picture is truncated or damaged ({error}): export it again.") from error
        transpose = _UPRIGHT.get(_orientation(image))  # again, because Pillow rotates a TIFF file while loading it
    alpha = None if alpha is None else _transposed(alpha, transpose)
    luma16 = None if luma16 is None else _transposed(luma16, transpose)
    return Picture(_transposed(luma, transpose), alpha, source, luma16, metadata)


def network_input(luma: UInt8Array, size: int, stride: int) -> Tensor:
    """Lightness `(1,1,h,w)` in [0, 100] of a luma plane, its short side `size`, both sides multiples of `stride`."""
    height, width = luma.shape
    scale = size / min(height, width)
    sides = [max(1, round(min(side * scale, MAX_ASPECT * size) / stride)) * stride for side in (width, height)]
    small = Image.fromarray(luma).resize((sides[0], sides[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]


def output_format(requested: str, picture: Picture) -> str:
    """The format of the output: as requested; for `auto` that of the input, or PNG if that cannot be written or is too small.

    Raises:
        OptionError: the requested format cannot hold a picture with such a long side.
    """
    source = picture.format.lower()
    longest = max(picture.width, picture.height)
    if requested == "auto":
        return source if source in WRITES and longest <= _LONGEST_SIDE.get(source, longest) else "png"
    if longest > _LONGEST_SIDE.get(requested, longest):
        raise OptionError(
            "format", requested, f"png or tiff for a side of {longest} pixels ({requested} allows {_LONGEST_SIDE[requested]})"
        )
    return requested


def _foreign_profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The picture's ICC profile, unless it is sRGB or cannot be parsed, in which case the pixels are used as they are."""
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
    gray = image.mode in ("L", "LA")
    if not gray and image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    bands = image.getchannel("L") if gray else image
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


def _luma16_to_srgb(levels: UInt16Array, profile: ImageCms.ImageCmsProfile) -> UInt16Array:
    """Luma of 16 bits through the curve of the profile at 256 levels, because Pillow does not convert 16 bits."""
    ramp = np.arange(256, dtype=np.uint8)
    converted = _to_srgb(Image.fromarray(ramp[None]), profile)
    curve = np.interp(np.arange(65_536), ramp * 257.0, np.asarray(converted.convert("L"))[0] * 257.0)
    mapped: UInt16Array = curve.round().astype(np.uint16)[levels]
    return mapped


def _alpha(image: Image.Image) -> UInt8Array:
    if image.mode.startswith("I"):  # 16-bit grayscale has one transparent level
        return np.where(np.asarray(image) == image.info.get("transparency"), 0, 255).astype(np.uint8)
    return np.array(image.getchannel("A") if "A" in image.getbands() else image.convert("RGBA").getchannel("A"))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF does not affect the pixels
        return 1


def _transposed(plane: Plane, transpose: Image.Transpose | None) -> Plane:
    if transpose is None:
        return plane
    transposed: Plane = np.ascontiguousarray(_TRANSPOSE[transpose](plane))
    return transposed
