"""JPEG, of which the luma plane can be read without a conversion, and the metadata of its segments."""

import io
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from models import xmp
from models.decoders.base import EncodedFile, Page
from models.errors import BrokenPicture, PictureTooComplex
from models.luma import LUMA
from models.metadata import COMMENT, Metadata, decoded_text, read_exif, valid_dpi
from models.samples import Samples, is_readable, is_srgb

_IPTC = 0x0404  # the Photoshop resource with the IPTC record
_END = b"\xff\xd9"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1}  # frames with Huffman codes, whose missing blocks are decoded as even ones
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = 0xC3  # a frame that has no DCT, from which no luma plane can be read
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # of a segment with a length, or the end
# Two continuations of a file that has no end: if no pixel is missing, they make no difference. After a restart marker decoders
# wait for the next one.
_NOISE = b"\x55\xaa" * 2048 + b"".join(bytes((0xFF, 0xD0 + number % 8)) + b"\x55\xaa" * 32 for number in range(64))
_CONTINUATIONS = (_END, _NOISE + _END)
_PADDING = b"\0\xff"
_FILL = b"\xff"  # may precede a marker
_EXIF = b"Exif\0\0"
# An extended XMP packet of 16 MiB has 250 segments; Pillow joins segments of EXIF in quadratic time; a scan takes the time of a
# picture, and encoders write 10.
_LIMITS = {"segments": 2_000, "segments of EXIF": 16, "scans": 200}
_MIN_PADDING = 16  # bytes; the data of the picture may end with a few such bytes


class JpegFile(EncodedFile):
    """A JPEG file; of a file with several pictures (MPO), the first.

    Raises:
        PictureTooComplex: it has too many segments or scans.
    """

    format = "jpeg"

    def __init__(self, content: bytes) -> None:
        self._content, self._layout = content, _layout(content)
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            self.sizes = [image.size]

    def decode(self, page: int, luma_only: bool = False) -> Page:
        with Image.open(io.BytesIO(self._content), formats=("JPEG",)) as image:
            orientation, metadata = _metadata(image)
            profile = image.info.get("icc_profile") or b""
        if profile and is_srgb(profile, "rgb"):
            profile = b""
        luma_only = luma_only and not (profile and is_readable(profile)) and self._layout.frame != _LOSSLESS
        return Page(Samples(self._levels(luma_only), profile=profile), orientation, metadata)

    def _levels(self, luma_only: bool) -> np.ndarray[Any, Any]:
        """The levels, if they are complete: decoders fill what is missing with gray."""
        layout = self._layout
        has_end = layout.end is not None and not self._content[layout.end + len(_END) :].strip(_PADDING)
        data = _without_padding(self._content) if layout.end is None else self._content[: layout.end].rstrip(_FILL)
        first = _decode(self._content if has_end else data + _CONTINUATIONS[0], luma_only)
        if has_end and layout.frame in _SEQUENTIAL and layout.scans == 1 and not _ends_evenly(first):
            return first
        second = _decode(data + _CONTINUATIONS[1], luma_only)
        if not np.array_equal(first, second) or not (has_end or layout.has_every_scan):
            raise BrokenPicture("the picture is truncated: parts of it are missing. Export it again.")
        return first


def _decode(content: bytes, luma_only: bool) -> np.ndarray[Any, Any]:
    if luma_only:
        with suppress(ValueError):  # such as of CMYK
            levels: np.ndarray[Any, Any] = simplejpeg.decode_jpeg(content, "GRAY", strict=False)  # a third faster than Pillow
            return levels[..., 0]
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        image.decodermaxblock = len(content)  # libjpeg cannot decode arithmetic codes piece by piece
        if luma_only:
            image.draft("L", image.size)
        return np.asarray(image)


def _without_padding(content: bytes) -> bytes:
    stripped = content.rstrip(_PADDING)
    return stripped if len(content) - len(stripped) >= _MIN_PADDING else content.rstrip(_FILL)


def _ends_evenly(levels: np.ndarray[Any, Any]) -> bool:
    """Whether the luma of the last block of 8 x 8 pixels may be constant, as that of blocks that are missing is."""
    top, left = ((side - 1) // 8 * 8 for side in levels.shape[:2])
    block = levels[top:, left:]
    if block.ndim == 3 and block.shape[2] != 3:
        return True
    luma = block @ np.array(LUMA) if block.ndim == 3 else block
    return float(np.ptp(luma)) <= 2  # levels; after rounding in the conversion to RGB


@dataclass(frozen=True)
class _Layout:
    """The markers of a JPEG file.

    Args:
        frame: the marker of the frame, which is its kind.
        scans: their number.
        has_every_scan: whether there are scans for all bits of all coefficients; progressive files have many scans.
        end: where the end marker is, if there is one.
    """

    frame: int
    scans: int
    has_every_scan: bool
    end: int | None


def _layout(content: bytes) -> _Layout:
    frame, position, counts = 0, 2, Counter[str]()
    missing: dict[int, NDArray[np.int_]] = {}  # by component: the lowest bit of each coefficient that was not sent yet
    while match := _MARKER.search(content, position):
        marker = match[1][0]
        if marker == _END_OF_IMAGE and counts["scans"]:
            return _Layout(frame, counts["scans"], not any(bits.any() for bits in missing.values()), match.start())
        size = int.from_bytes(content[match.end() : match.end() + 2])
        segment = content[match.end() + 2 : match.end() + size]
        position = match.end() + (size if marker != _END_OF_IMAGE else 0)
        is_scan = marker == _START_OF_SCAN and len(segment) >= 4
        counts.update({"segments": 1, "segments of EXIF": segment.startswith(_EXIF), "scans": is_scan})
        for name, limit in _LIMITS.items():
            if counts[name] > limit:
                raise PictureTooComplex(f"the JPEG file has more than {limit} {name}, which is the limit: export it again.")
        if marker in _FRAMES:
            frame, missing = marker, {component: np.full(64, 16) for component in segment[6::3]}
        elif is_scan:
            first, last, bits = (segment[-3], segment[-2], segment[-1] & 15) if frame in _PROGRESSIVE else (0, 63, 0)
            for component in set(segment[1:-3:2]) & set(missing):
                missing[component][first : last + 1] = bits
    return _Layout(frame, counts["scans"], not any(bits.any() for bits in missing.values()), None)


def _metadata(image: Image.Image) -> tuple[int, Metadata]:
    found = read_exif(image.info.get("exif", b""))
    applist = image.applist if isinstance(image, JpegImagePlugin.JpegImageFile) else []
    packet = xmp.join_jpeg_parts(image.info.get("xmp", b""), [segment for name, segment in applist if name == "APP1"])
    resources = image.info.get("photoshop")
    iptc = resources.get(_IPTC, b"") if isinstance(resources, dict) else b""
    comment = image.info.get("comment", b"")
    texts = {COMMENT: decoded_text(comment)} if comment else {}
    dpi = valid_dpi(image.info.get("dpi")) or found.dpi
    return found.orientation, Metadata(dpi, found.tags, packet, iptc, texts, found.notes)
