"""Encodes pixels and metadata: JPEG from YCbCr planes; PNG, WebP and TIFF from RGB. Pillow does not write RGB of 16 bits; this
does.
"""

import io
import zlib
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from models.chroma import YCbCr
from models.luma import SampleArray, UInt8Array
from models.metadata import Metadata

FORMATS_16_BIT = ("png", "tiff")  # formats that hold 16 bits

_SUBSAMPLING = 2  # 4:2:0, because chroma is smooth
_FASTEST = 1  # zlib level: several times faster than the default, a tenth larger
_STRIP = 256  # rows of a TIFF strip
_LONGEST_COMMENT = 15_000  # characters of up to four bytes; a JPEG segment holds 65,533 bytes
_XMP = 700  # TIFF tag
_DEFLATE, _DIFFERENCES, _RGB, _ALPHA, _INCHES = 8, 2, 2, 2, 2  # values of TIFF tags
# By number of channels: depth, color type, compression, filtering and interlacing
_PNG_16 = {3: b"\x10\x02\0\0\0", 4: b"\x10\x06\0\0\0"}
_GROUPS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_UP = 2  # PNG row filter: the difference to the row above


def encode(pixels: YCbCr | SampleArray, alpha: UInt8Array | None, format: str, quality: int, metadata: Metadata) -> bytes:
    """Encode pixels with their metadata.

    Args:
        pixels: planes, which are encoded as JPEG; or RGB `(h,w,3)` of 8 bits, or of 16 bits for one of `FORMATS_16_BIT`.
        alpha: `(h,w)`, or None; JPEG has no alpha.
        format: `jpeg`, `png`, `webp` or `tiff`.
        quality: of JPEG and WebP, 1 to 100.
        metadata: written to the file.
    """
    if isinstance(pixels, YCbCr):
        return _jpeg(pixels, quality, metadata)
    return _encode_rgb(pixels, alpha, format, quality, metadata)


def _encode_rgb(rgb: SampleArray, alpha: UInt8Array | None, format: str, quality: int, metadata: Metadata) -> bytes:
    is_16_bit = rgb.dtype == np.uint16
    if format == "tiff" or is_16_bit:
        samples = rgb if alpha is None else np.dstack((rgb, alpha.astype(rgb.dtype) * (257 if is_16_bit else 1)))
        return _tiff(samples, metadata) if format == "tiff" else _png_16(samples, metadata)
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    if format == "webp":
        image.save(buffer, "WEBP", quality=quality, method=2, xmp=metadata.xmp, exif=metadata.exif)
    else:
        image.save(buffer, "PNG", compress_level=_FASTEST, pnginfo=_texts(metadata), exif=metadata.exif, dpi=metadata.dpi)
    return buffer.getvalue()


def _jpeg(planes: YCbCr, quality: int, metadata: Metadata) -> bytes:
    """The luma plane is encoded as it is, without a conversion through RGB."""
    image = Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes])
    dpi = tuple(round(inch) for inch in metadata.dpi) if metadata.dpi else (0, 0)
    buffer = io.BytesIO()
    image.save(
        buffer,
        "JPEG",
        quality=quality,
        subsampling=_SUBSAMPLING,
        dpi=dpi,
        xmp=metadata.xmp,
        exif=metadata.exif,
        comment=metadata.texts.get("Comment", "")[:_LONGEST_COMMENT].encode(),
        extra=_photoshop(metadata.iptc) if metadata.iptc else b"",
    )
    return buffer.getvalue()


def _png_16(samples: NDArray[Any], metadata: Metadata) -> bytes:
    height, width, channels = samples.shape
    row = width * channels * 2
    rows = samples.astype(">u2").view(np.uint8).reshape(height, row)
    buffer = io.BytesIO()
    buffer.write(b"\x89PNG\r\n\x1a\n")
    PngImagePlugin.putchunk(buffer, b"IHDR", width.to_bytes(4), height.to_bytes(4), _PNG_16[channels])
    if metadata.dpi:
        per_meter = (round(inch / 0.0254).to_bytes(4) for inch in metadata.dpi)
        PngImagePlugin.putchunk(buffer, b"pHYs", *per_meter, b"\x01")
    if metadata.exif:
        PngImagePlugin.putchunk(buffer, b"eXIf", metadata.exif.removeprefix(b"Exif\0\0"))
    for name, content, _ in _texts(metadata).chunks:
        PngImagePlugin.putchunk(buffer, name, content)
    compressor = zlib.compressobj(_FASTEST)
    above = np.zeros((1, row), np.uint8)
    for top in range(0, height, _STRIP):
        part = rows[top : top + _STRIP]
        filtered = np.full((len(part), 1 + row), _UP, np.uint8)
        filtered[:, 1:] = part - np.concatenate((above, part[:-1]))
        above = part[-1:]
        if compressed := compressor.compress(filtered.tobytes()):
            PngImagePlugin.putchunk(buffer, b"IDAT", compressed)
    PngImagePlugin.putchunk(buffer, b"IDAT", compressor.flush())
    PngImagePlugin.putchunk(buffer, b"IEND")
    return buffer.getvalue()


def _tiff(samples: NDArray[Any], metadata: Metadata) -> bytes:
    """RGB or RGBA in strips. Pillow's own writer does not compress files with an Exif directory."""
    height, width, channels = samples.shape
    strips = []
    for top in range(0, height, _STRIP):
        part = samples[top : top + _STRIP]
        steps = np.concatenate((part[:, :1], part[:, 1:] - part[:, :-1]), axis=1)
        compressed = zlib.compress(steps.astype(steps.dtype.newbyteorder("<"), copy=False).tobytes(), _FASTEST)
        strips.append(compressed + bytes(len(compressed) % 2))
    lengths = [len(strip) for strip in strips]
    base, descriptive = ExifTags.Base, _descriptive_tags(metadata)
    tags = {
        **{tag: descriptive.get_ifd(tag) if tag in _GROUPS else value for tag, value in descriptive.items()},
        base.ImageWidth: width,
        base.ImageLength: height,
        base.BitsPerSample: (8 * samples.itemsize,) * channels,
        base.Compression: _DEFLATE,
        base.PhotometricInterpretation: _RGB,
        base.StripOffsets: tuple(accumulate(lengths[:-1], initial=0)),  # relative to the end of the directory in Pillow
        base.SamplesPerPixel: channels,
        base.RowsPerStrip: _STRIP,
        base.StripByteCounts: tuple(lengths),
        base.Predictor: _DIFFERENCES,
        base.ExtraSamples: _ALPHA,
    }
    if channels == 3:
        del tags[base.ExtraSamples]
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    for tag, value in tags.items():
        directory[tag] = value
    buffer = io.BytesIO()
    directory.save(buffer)
    buffer.writelines(strips)
    return buffer.getvalue()


def _descriptive_tags(metadata: Metadata) -> Image.Exif:
    """The metadata as tags of a TIFF directory."""
    tags = Image.Exif()
    tags.load(metadata.exif)
    tags[_XMP] = metadata.xmp
    if metadata.dpi:
        tags[ExifTags.Base.XResolution], tags[ExifTags.Base.YResolution] = metadata.dpi
        tags[ExifTags.Base.ResolutionUnit] = _INCHES
    return tags


def _texts(metadata: Metadata) -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    for name, text in metadata.texts.items():
        texts.add_itxt(name, text)
    return texts


def _photoshop(iptc: bytes) -> bytes:
    """A JPEG segment with the IPTC record as Photoshop's resource 0x0404."""
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + bytes(len(iptc) % 2)
    return b"\xff\xed" + (len(block) + 2).to_bytes(2) + block
