"""Encodes pixels and metadata: JPEG from YCbCr planes, the other formats from RGB."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from models import exif, xmp
from models.chroma import YCbCr
from models.exif import Tag
from models.libvips import libvips
from models.luma import SampleArray
from models.metadata import COMMENT, Metadata, Tags, resolution_tags

FORMATS_16_BIT = ("png", "tiff")  # formats that hold 16 bits

_SUBSAMPLING = 2  # 4:2:0, because chroma is smooth
_FASTEST = 1  # zlib level: several times faster than the default, a tenth larger
_AVIF_SPEED = 8  # of 10: a 12-megapixel picture in a few seconds
_STRIP = 256  # rows of a TIFF strip
_XMP, _IPTC = 700, 33723  # TIFF tags
_DEFLATE, _DIFFERENCES, _RGB, _ALPHA, _PAGE = 8, 2, 2, 2, 2  # values of TIFF tags
_PNG_HEADER = 33  # bytes of the signature and the first chunk
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
        strips.append(zlib.compress(steps.astype(steps.dtype.newbyteorder("<"), copy=False).tobytes(), _FASTEST))
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
    """The luma plane is encoded as it is, without a conversion through RGB."""
    image = Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes])
    packet, extension = xmp.jpeg_parts(metadata.xmp)
    buffer = io.BytesIO()
    image.save(
        buffer,
        "JPEG",
        quality=quality,
        subsampling=_SUBSAMPLING,
        dpi=tuple(round(inch) for inch in metadata.dpi) if metadata.dpi else (0, 0),
        xmp=packet,
        exif=metadata.exif_block(),
        comment=metadata.texts.get(COMMENT, "").encode(),
        extra=b"".join(map(_app1, extension)) + (_photoshop(metadata.iptc) if metadata.iptc else b""),
    )
    return buffer.getvalue()


def _with_alpha(rgb: SampleArray, alpha: SampleArray | None) -> NDArray[Any]:
    return rgb if alpha is None else np.dstack((rgb, alpha))


def _png(samples: NDArray[Any], metadata: Metadata) -> bytes:
    """Pixels by libvips, which holds 16 bits and is five times faster than Pillow; chunks of metadata after the header."""
    image = libvips().Image.new_from_array(samples)
    image = image.copy(interpretation="rgb16" if samples.dtype == np.uint16 else "srgb")
    content: bytes = image.pngsave_buffer(compression=_FASTEST, filter="up", keep="none")
    chunks = io.BytesIO()
    if metadata.dpi:
        per_meter = (round(inch / 0.0254).to_bytes(4) for inch in metadata.dpi)
        PngImagePlugin.putchunk(chunks, b"pHYs", *per_meter, b"\x01")
    if block := metadata.exif_block():
        PngImagePlugin.putchunk(chunks, b"eXIf", block.removeprefix(b"Exif\0\0"))
    for name, text, _ in _texts(metadata).chunks:
        PngImagePlugin.putchunk(chunks, name, text)
    return b"".join((content[:_PNG_HEADER], chunks.getvalue(), _without_resolution(content[_PNG_HEADER:])))


def _without_resolution(chunks: bytes) -> bytes:
    """The chunks without libvips's own resolution."""
    return chunks[21:] if chunks[4:8] == b"pHYs" else chunks


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


def _app1(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content


def _photoshop(iptc: bytes) -> bytes:
    """A JPEG segment with the IPTC record as Photoshop's resource 0x0404."""
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + bytes(len(iptc) % 2)
    return b"\xff\xed" + (len(block) + 2).to_bytes(2) + block
