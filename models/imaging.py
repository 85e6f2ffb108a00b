"""Bytes to `Picture` and back: any mode, upright, capped before decoding; what goes out says that a machine made its colour."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from models.errors import BrokenPicture, NotAPicture, OptionError, PictureTooLarge
from models.lab import luma_to_lightness

Bytes = NDArray[np.uint8]

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
WRITES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff"}

MAX_PIXELS = 50_000_000
LONGEST = 2.0  # sides of the working picture: a longer panorama is squeezed to this aspect for the networks, never for the answer

_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|GIF8", re.DOTALL)
_JPEG_SUBSAMPLING = 2  # 4:2:0; chroma is smooth


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


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `content`: JPEG, PNG, WebP, TIFF, BMP or GIF (first frame), in any mode and EXIF orientation.

    Colour is dropped as Pillow's `convert("L")` drops it, after conversion to sRGB where there is a profile. 16-bit grey keeps
    its upper 8 bits. In a JPEG file the luma plane is taken as it stands.

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
    except Exception as error:  # a header that lies makes a decoder raise almost anything
        raise BrokenPicture(f"the picture's header cannot be read ({error}): export it again.") from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise PictureTooLarge(
                f"the picture has {width} x {height} = {width * height} pixels, and the limit is {max_pixels}: send a smaller one."
            )
        source = image.format or "PNG"
        try:
            profile = image.info.get("icc_profile")
            if source == "JPEG" and not profile:
                image.draft("L", image.size)  # the luma plane itself, without a way through RGB
            upright = ImageOps.exif_transpose(image)
            upright = _to_srgb(upright, profile)
            return Picture(_luma(upright), _alpha(upright), "JPEG" if source == "MPO" else source)
        except MemoryError:
            raise
        except Exception as error:
            raise BrokenPicture(f"the picture is cut off or damaged ({error}): export it again.") from error


def network_input(luma: Bytes, size: int, stride: int) -> Tensor:
    """Lightness `(1,1,h,w)` in [0, 100] of a luma plane, its short side `size`, both sides multiples of `stride`."""
    height, width = luma.shape
    scale = size / min(height, width)
    sides = [max(1, round(min(side * scale, LONGEST * size) / stride)) * stride for side in (width, height)]
    small = Image.fromarray(luma).resize((sides[0], sides[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return luma_to_lightness(torch.from_numpy(np.array(small)).float() / 255)[None, None]


def encode_rgb(rgb: Bytes, alpha: Bytes | None, format: str, quality: int, xmp: bytes) -> bytes:
    """Encode RGB `(h,w,3)` and alpha `(h,w)` as `png`, `webp`, `tiff` or `jpeg`; only the last drops alpha."""
    image = Image.fromarray(rgb)
    if alpha is not None and format != "jpeg":
        image.putalpha(Image.fromarray(alpha))
    return _save(image, format, quality, xmp)


def encode_planes(planes: Sequence[Bytes], quality: int, xmp: bytes) -> bytes:
    """Encode Y, Cb and Cr planes `(h,w)` as JPEG: the luma plane goes in as it is, and never through RGB."""
    return _save(Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes]), "jpeg", quality, xmp)


def output_format(wanted: str, source: str) -> str:
    """The format of the answer: as wanted, and for `auto` that of the upload (PNG for what cannot hold the answer well).

    Raises:
        OptionError: `wanted` is neither `auto` nor one of `WRITES`.
    """
    if wanted == "auto":
        return source.lower() if source.lower() in WRITES else "png"
    if wanted not in WRITES:
        raise OptionError("format", wanted, ("auto", *WRITES))
    return wanted


def provenance(bundle: str, category: str) -> bytes:
    """XMP that says, in the IPTC's vocabulary, that the picture is a photograph with trained-algorithm media composited in."""
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:chromaroute="urn:chromaroute:1.0"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
 chromaroute:Bundle="{bundle}" chromaroute:Category="{category}"/></rdf:RDF></x:xmpmeta>""".encode()


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
        image.save(buffer, "PNG", compress_level=1, pnginfo=text)  # seven times faster than the default, a tenth larger
    return buffer.getvalue()


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (OSError, ImageCms.PyCMSError):  # a damaged profile, or one for another mode: the pixels are still good
        return image
    return converted or image


def _luma(image: Image.Image) -> Bytes:
    if image.mode == "F":
        levels = np.nan_to_num(np.asarray(image))
        return _whole(levels * (255.0 if levels.max(initial=0) <= 1 else 1.0))
    if image.mode.startswith("I"):  # 16 bits; Pillow's convert("L") would clip them at 255
        return _whole(np.asarray(image) / 257)
    return np.array((image.convert("RGBA") if image.mode in ("P", "PA") else image).convert("L"))


def _whole(levels: NDArray[np.floating]) -> Bytes:
    return levels.clip(0, 255).round().astype(np.uint8)


def _alpha(image: Image.Image) -> Bytes | None:
    if not image.has_transparency_data or image.mode.startswith("I"):
        return None
    return np.array(image.convert("RGBA").getchannel("A"))
