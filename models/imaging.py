"""Bytes to `Picture` and back: any mode, upright, capped before decoding; what goes out says that a machine made its colour."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from models.errors import BrokenPicture, NotAPicture, OptionError, PictureError, PictureTooLarge
from models.greys import Bytes, grey_levels
from models.lab import luma_to_lightness

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
WRITES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff"}

MAX_PIXELS = 50_000_000
LONGEST = 2.0  # sides of the working picture: a longer panorama is squeezed to this aspect for the networks, never for the answer

_LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels; the encoders' own limits
_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|GIF8", re.DOTALL)
_JPEG_SUBSAMPLING = 2  # 4:2:0; chroma is smooth
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


@dataclass(frozen=True)
class Picture:
    """A picture without colour: its BT.601 luma `(h,w)` in whole levels, its alpha if it has one, and the format it came in."""

    luma: Bytes
    alpha: Bytes | None
    format: str

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

    Colour is dropped as Pillow's `convert("L")` drops it, after conversion to sRGB where there is an ICC profile. Deeper grey comes
    at 8 bits. Where a JPEG file will be answered by one (`wanted` is its format, or `auto`), its luma plane is taken as it stands.

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
        try:
            profile = _foreign_profile(image)
            if source == "JPEG" and wanted in ("auto", "jpeg") and profile is None:
                image.draft("L", image.size)  # the luma plane itself, without a way through RGB
            picture = _to_srgb(image, profile) if profile else image
            luma = grey_levels(picture)
            see_through = picture.has_transparency_data and not picture.mode.startswith("I")
            alpha = np.array(_alpha(picture)) if see_through else None
        except (MemoryError, PictureError):
            raise
        except Exception as error:
            raise BrokenPicture(f"the picture is cut off or damaged ({error}): export it again.") from error
        turn = _UPRIGHT.get(_orientation(image))
    return Picture(_turned(luma, turn), None if alpha is None else _turned(alpha, turn), source)


def network_input(luma: Bytes, size: int, stride: int) -> Tensor:
    """Lightness `(1,1,h,w)` in [0, 100] of a luma plane, its short side `size`, both sides multiples of `stride`."""
    height, width = luma.shape
    scale = size / min(height, width)
    sides = [max(1, round(min(side * scale, LONGEST * size) / stride)) * stride for side in (width, height)]
    small = Image.fromarray(luma).resize((sides[0], sides[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]


def encode_rgb(rgb: Bytes, alpha: Bytes | None, format: str, quality: int, xmp: bytes) -> bytes:
    """Encode RGB `(h,w,3)` and alpha `(h,w)` as `png`, `webp` or `tiff`."""
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return _save(image, format, quality, xmp)


def encode_planes(planes: Sequence[Bytes], quality: int, xmp: bytes) -> bytes:
    """Encode Y, Cb and Cr planes `(h,w)` as JPEG: the luma plane goes in as it is, and never through RGB."""
    return _save(Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes]), "jpeg", quality, xmp)


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


def provenance(bundle: str, category: str) -> bytes:
    """XMP that says, in the IPTC's vocabulary, that the picture is a photograph with trained-algorithm media composited in."""
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:chromaroute="urn:chromaroute:1.0"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
 chromaroute:Bundle={quoteattr(bundle)} chromaroute:Category={quoteattr(category)}/></rdf:RDF></x:xmpmeta>""".encode()


def _save(image: Image.Image, format: str, quality: int, xmp: bytes) -> bytes:
    buffer = io.BytesIO()
    if format == "jpeg":
        image.save(buffer, "JPEG", quality=quality, subsampling=_JPEG_SUBSAMPLING, xmp=xmp)
    elif format == "webp":
        image.save(buffer, "WEBP", quality=quality, method=2, xmp=xmp)
    elif format == "tiff":
        image.save(buffer, "TIFF", compression="tiff_lzw", tiffinfo={700: xmp})
    else:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(buffer, "PNG", compress_level=1, pnginfo=text)  # several times faster than the default, a tenth larger
    return buffer.getvalue()


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


def _alpha(image: Image.Image) -> Image.Image:
    return image.getchannel("A") if "A" in image.getbands() else image.convert("RGBA").getchannel("A")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def _turned(plane: Bytes, turn: Image.Transpose | None) -> Bytes:
    return plane if turn is None else np.array(Image.fromarray(plane).transpose(turn))
