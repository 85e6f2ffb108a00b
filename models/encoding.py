"""Encodes pixels and metadata: JPEG from YCbCr planes, the other formats from RGB."""

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from models import exif, xmp
from models.chroma import YCbCr
from models.exif import Tag
from models.luma import SampleArray
from models.metadata import COMMENT, Metadata, Tags, resolution_tags

FORMATS_16_BIT = ("png", "tiff")  # formats that hold 16 bits

_FAST = 1  # level of ISA-L: five times faster than the fastest of zlib, and not larger
_AVIF_SPEED = 8  # of 10: a 12-megapixel picture in a few seconds
_STRIP = 256  # rows of a TIFF strip, or that are compressed at a time
_XMP, _IPTC = 700, 33723  # TIFF tags
_DEFLATE, _DIFFERENCES, _RGB, _ALPHA, _PAGE = 8, 2, 2, 2, 2  # values of TIFF tags
_PNG_SIGNATURE, _PNG_COLOR, _PNG_UP = b"\x89PNG\r\n\x1a\n", 2, 2  # values of the header and of the filter
_PNG_ALPHA = 4  # is added to the color type
_JFIF_DENSITY, _JFIF_END = 13, 20  # positions in a JPEG file: of unit, horizontal and vertical density; of the next segment
_PER_INCH = 1
_APP1, _APP13, _COMMENT = 0xE1, 0xED, 0xFE  # markers of JPEG segments
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST_TIFF = 2**32 - 2**20  # bytes; offsets have four


@dataclass(frozen=True)
class TiffPage:
    """A page of a TIFF file: its tags, and its compressed strips."""

    tags: Tags
    strips: Sequence[bytes]


def encode(pixels: YCbCr | SampleArray, alpha: SampleArray | None, format: str, quality: int, metadata: Metadata) -> bytes:
    """Encode pixels with their metadata.

    Args:
        pixels: planes, which are encoded as JPEG; or RGB `(h,w,3)` of 8 bits, or of 16 bits for one of `FORMATS_16_BIT`.
        alpha: `(h,w)` of the same depth, or None; JPEG has no alpha.
        format: `jpeg`, `png`, `webp`, `tiff` or `avif`.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        metadata: written to the file, which can hold it; see `Metadata.fitted`.
    """
    if isinstance(pixels, YCbCr):
        return _jpeg(pixels, quality, metadata)
    if format == "tiff":
        return join_tiff([tiff_page(pixels, alpha, metadata)])
    if format == "png":
        return _png(_with_alpha(pixels, alpha), metadata)
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    block = metadata.exif_block(with_resolution=True)
    if format == "webp":
        image.save(buffer, "WEBP", quality=quality, method=2, xmp=metadata.xmp, exif=block)
    else:
        image.save(buffer, "AVIF", quality=quality, speed=_AVIF_SPEED, xmp=metadata.xmp, exif=block)
    return buffer.getvalue()


def tiff_page(rgb: SampleArray, alpha: SampleArray | None, metadata: Metadata, number: int = 1, count: int = 1) -> TiffPage:
    """RGB or RGBA of 8 or 16 bits as a page, the `number`th of `count`, in compressed strips."""
    samples = _with_alpha(rgb, alpha)
    height, width, channels = samples.shape
    strips = []
    for top in range(0, height, _STRIP):
        part = samples[top : top + _STRIP]
        steps = np.concatenate((part[:, :1], part[:, 1:] - part[:, :-1]), axis=1)
        strips.append(isal_zlib.compress(steps.astype(steps.dtype.newbyteorder("<"), copy=False).tobytes(), _FAST))
    base = ExifTags.Base
    structure: dict[int, Tag] = {
        base.ImageWidth: exif.long(width),
        base.ImageLength: exif.long(height),
        base.BitsPerSample: exif.short(*[8 * samples.itemsize] * channels),
        base.Compression: exif.short(_DEFLATE),
        base.PhotometricInterpretation: exif.short(_RGB),
        base.SamplesPerPixel: exif.short(channels),
        base.RowsPerStrip: exif.long(_STRIP),
        base.StripByteCounts: exif.long(*map(len, strips)),
        base.Predictor: exif.short(_DIFFERENCES),
    }
    if channels == 4:
        structure[base.ExtraSamples] = exif.short(_ALPHA)
    if count > 1:
        structure |= {base.NewSubfileType: exif.long(_PAGE), base.PageNumber: exif.short(number - 1, count)}
    blobs = {_XMP: (exif.BYTE, metadata.xmp), _IPTC: (exif.UNDEFINED, metadata.iptc)}
    described = {tag: Tag(type_, content) for tag, (type_, content) in blobs.items() if content}
    return TiffPage({**metadata.exif, **resolution_tags(metadata.dpi), **described, **structure}, strips)


def join_tiff(pages: Sequence[TiffPage]) -> bytes:
    """A TIFF file of these pages. Libraries write pages of one size only, or lose the Exif directory.

    Raises:
        MemoryError: it would be larger than a TIFF file can be.
    """
    strips = [strip + bytes(len(strip) % 2) for page in pages for strip in page.strips]
    start = 8 + sum(map(len, strips))
    if start > _LARGEST_TIFF:
        raise MemoryError("the output is larger than a TIFF file can be")
    directories, position = [], 8
    for page in pages:
        offsets = []
        for strip in page.strips:
            offsets.append(position)
            position += len(strip) + len(strip) % 2
        directories.append({**page.tags, ExifTags.Base.StripOffsets: exif.long(*offsets)})
    content, offsets = exif.write_directories(directories, start)
    return b"".join((b"II*\0", struct.pack("<I", offsets[0]), *strips, content))


def _jpeg(planes: YCbCr, quality: int, metadata: Metadata) -> bytes:
    """The planes are encoded as they are, without a conversion through RGB; segments of metadata follow the header."""
    height, width = planes.y.shape
    # the encoder reads whole squares of 2 x 2 pixels, so there must be memory beyond odd sides
    even = np.pad(planes.y, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else planes.y
    content = simplejpeg.encode_jpeg_yuv_planes(np.ascontiguousarray(even)[:height, :width], planes.cb, planes.cr, quality)
    header = bytearray(content[:_JFIF_END])
    if metadata.dpi:
        struct.pack_into(">BHH", header, _JFIF_DENSITY, _PER_INCH, *(round(inch) for inch in metadata.dpi))
    packet, extension = xmp.jpeg_parts(metadata.xmp)
    segments = [(_APP1, metadata.exif_block())]
    segments += [(_APP1, _XMP_HEADER + packet if packet else b""), *((_APP1, part) for part in extension)]
    segments += [(_APP13, _photoshop(metadata.iptc)), (_COMMENT, metadata.texts.get(COMMENT, "").encode())]
    return b"".join((header, *(_segment(marker, part) for marker, part in segments if part), content[_JFIF_END:]))


def _with_alpha(rgb: SampleArray, alpha: SampleArray | None) -> NDArray[Any]:
    return rgb if alpha is None else np.dstack((rgb, alpha))


def _png(samples: NDArray[Any], metadata: Metadata) -> bytes:
    """Pixels of 8 or 16 bits, each row as its difference from the one above; chunks of metadata after the header."""
    height, width, channels = samples.shape
    chunks = io.BytesIO()
    color = _PNG_COLOR + (_PNG_ALPHA if channels == 4 else 0)
    chunks.write(_PNG_SIGNATURE)
    PngImagePlugin.putchunk(chunks, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, color, 0, 0, 0))
    if metadata.dpi:
        per_meter = (round(inch / 0.0254).to_bytes(4) for inch in metadata.dpi)
        PngImagePlugin.putchunk(chunks, b"pHYs", *per_meter, b"\x01")
    if block := metadata.exif_block():
        PngImagePlugin.putchunk(chunks, b"eXIf", block.removeprefix(b"Exif\0\0"))
    for name, text, _ in _texts(metadata).chunks:
        PngImagePlugin.putchunk(chunks, name, text)
    for part in _compressed(samples):
        PngImagePlugin.putchunk(chunks, b"IDAT", part)
    PngImagePlugin.putchunk(chunks, b"IEND")
    return chunks.getvalue()


def _compressed(samples: NDArray[Any]) -> Iterable[bytes]:
    """The compressed rows of a PNG file, some at a time."""
    compressor = isal_zlib.compressobj(_FAST)
    above = np.zeros(samples[0].nbytes, np.uint8)
    for top in range(0, len(samples), _STRIP):
        part = samples[top : top + _STRIP]
        rows = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(">"), copy=False)).view(np.uint8).reshape(len(part), -1)
        filtered = np.empty((len(part), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = _PNG_UP
        np.subtract(rows[0], above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        above = rows[-1]
        yield compressor.compress(filtered.data)
    yield compressor.flush()


def _texts(metadata: Metadata) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    if metadata.xmp:
        texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    if metadata.iptc:  # ImageMagick's way, which ExifTool reads too: PNG has no chunk for it
        digits = metadata.iptc.hex()
        lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
        texts.add_text("Raw profile type iptc", f"\niptc\n{len(metadata.iptc):8}\n{lines}\n", zip=True)
    for name, text in metadata.texts.items():
        texts.add_itxt(name, text)
    return texts


def _segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG file."""
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content


def _photoshop(iptc: bytes) -> bytes:
    """The content of a JPEG segment with the IPTC record as Photoshop's resource 0x0404; empty if there is none."""
    return iptc and b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + bytes(len(iptc) % 2)
