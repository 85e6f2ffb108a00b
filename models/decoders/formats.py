"""Finds the decoder of a file by its first bytes, whatever its name; and says what can be done about files that have none."""

import re
from collections.abc import Callable
from functools import partial

from PIL import Image, UnidentifiedImageError

from models.decoders.avif import AvifFile
from models.decoders.base import EncodedFile
from models.decoders.bmp import open_bmp
from models.decoders.heic import HeicFile
from models.decoders.jpeg import JpegFile
from models.decoders.jpeg2000 import Jpeg2000File
from models.decoders.pillow import PillowFile, can_read_heif
from models.decoders.png import PngFile
from models.decoders.tiff import TiffFile
from models.errors import BrokenPicture, NotAPicture, PictureError, PictureTooLarge

_HEIC_BRANDS = rb"(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1)"
_DECODERS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], EncodedFile]]] = {
    # name: (its first bytes, its decoder)
    "jpeg": (re.compile(rb"\xff\xd8\xff"), JpegFile),
    "png": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngFile),
    "tiff": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffFile),
    "webp": (re.compile(rb"RIFF....WEBP", re.DOTALL), partial(PillowFile, format="webp", plugin="WEBP")),
    "gif": (re.compile(rb"GIF8[79]a"), partial(PillowFile, format="gif", plugin="GIF")),
    "bmp": (re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), open_bmp),
    "avif": (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), AvifFile),
    "jpeg2000": (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), Jpeg2000File),
    "heic": (re.compile(rb"....ftyp" + _HEIC_BRANDS, re.DOTALL), HeicFile),
}  # fmt: skip
ALWAYS_READ = ("JPEG", "PNG", "TIFF", "WebP", "GIF", "BMP", "AVIF", "JPEG 2000")
READS = (*ALWAYS_READ, *(("HEIC",) if can_read_heif() else ()))
FORMATS = tuple(_DECODERS)

_EXPORT = "export it as JPEG, PNG or TIFF"
_OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"%PDF"), "a PDF file: extract its pictures, for example with pdfimages -all"),
    (
        re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg|!DOCTYPE)", re.IGNORECASE),
        f"an XML or SVG file, which has no pixels: {_EXPORT}",
    ),
    (re.compile(rb"8BPS"), f"a Photoshop file: {_EXPORT}"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), f"a JPEG XL file: {_EXPORT}, for example with djxl"),
    (
        re.compile(rb"....ftypcrx |FUJIFILMCCD-RAW|IIU\0|IIRO|MMOR|FOVb", re.DOTALL),
        "a raw file of a camera: develop it with a raw converter",
    ),
    (re.compile(rb"....ftyp", re.DOTALL), "a video: extract its pictures, for example with ffmpeg"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive: send it to /v1/colorize/batch or /v1/jobs as archive, or unpack it"),
    (re.compile(rb"P[1-7]\s"), f"a PNM file: {_EXPORT}"),
    (re.compile(rb"Rar!|7z\xbc\xaf|\x1f\x8b"), "an archive: unpack it, or pack it as ZIP"),
)


def format_of(content: bytes) -> str | None:
    """The name of the format of a file, one of `FORMATS`, by its first bytes; None for others."""
    return next((name for name, (signature, _) in _DECODERS.items() if signature.match(content)), None)


def check_format(content: bytes) -> str:
    """The name of the format of a file.

    Raises:
        NotAPicture: it is in no supported format.
    """
    name = format_of(content)
    if name is None or (name == "heic" and not can_read_heif()):
        raise NotAPicture(_advice(content, name))
    return name


def open_file(content: bytes) -> EncodedFile:
    """Read the header of a file.

    Raises:
        NotAPicture: it is in no supported format.
        BrokenPicture: its header is damaged, or a variant of the format that is not supported.
        PictureTooLarge: it has more pixels than Pillow opens.
    """
    try:
        return _DECODERS[check_format(content)][1](content)
    except (MemoryError, PictureError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(f"the picture is too large ({error}): send a smaller one.") from error
    except UnidentifiedImageError as error:  # whose message names an object of Python
        raise BrokenPicture("the picture's header is damaged, or of a kind that is not supported: export it again.") from error
    except Exception as error:  # decoders raise almost anything on an invalid header
        raise BrokenPicture(f"the picture's header cannot be read ({error}): export it again.") from error


def _advice(content: bytes, name: str | None) -> str:
    if name == "heic":
        return f"this is a HEIC file, which needs the extra heif: pip install 'chromaroute[heif]', or {_EXPORT}."
    kind = next((advice for signature, advice in _OTHERS if signature.match(content)), None)
    if kind is not None:
        return f"this is {kind}. Pictures can be in {', '.join(READS)}."
    return f"this is not a picture in a supported format: send one of {', '.join(READS)}."
