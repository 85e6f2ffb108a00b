"""JPEG by Pillow, which reads the luma plane of a file without converting it, and the metadata of its segments."""

import io
import re
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from models import xmp
from models.decoders.base import EncodedFile, Page
from models.errors import BrokenPicture
from models.metadata import COMMENT, Metadata, decoded_text, read_exif, valid_dpi
from models.samples import Samples, is_readable, is_srgb

_IPTC = 0x0404  # the Photoshop resource with the IPTC record
_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_LOSSLESS = 0xC3  # the start of a frame that has no DCT, from which no luma plane can be read
# Two continuations of a file that has no end: if no pixel is missing, they make no difference
_CONTINUATIONS = (_END, b"\x55\xaa" * 2048 + _END)
_PADDING = re.compile(rb"[\x00\xff]*\Z")


class JpegFile(EncodedFile):
    """A JPEG file; of a file with several pictures (MPO), the first."""

    format = "jpeg"

    def __init__(self, content: bytes) -> None:
        self._content = content
        with Image.open(io.BytesIO(content), formats=("JPEG", "MPO")) as image:
            self.sizes = [image.size]

    def decode(self, page: int, luma_only: bool = False) -> Page:
        frame, scan = _structure(self._content)
        with Image.open(io.BytesIO(self._content), formats=("JPEG", "MPO")) as image:
            orientation, metadata = _metadata(image)
            profile = image.info.get("icc_profile") or b""
        if profile and is_srgb(profile, "rgb"):
            profile = b""
        luma_only = luma_only and not (profile and is_readable(profile)) and frame != _LOSSLESS
        return Page(Samples(self._levels(scan, luma_only), profile=profile), orientation, metadata)

    def _levels(self, scan: int, luma_only: bool) -> np.ndarray[Any, Any]:
        """The levels, if they are complete: decoders fill what is missing with gray."""
        end = self._content.find(_END, scan)
        if end >= 0 and _PADDING.match(self._content, end + 2):
            return _decode(self._content, luma_only)
        data = self._content[:end] if end >= 0 else _PADDING.sub(b"", self._content)
        first, second = (_decode(data + continuation, luma_only) for continuation in _CONTINUATIONS)
        if not np.array_equal(first, second):
            raise BrokenPicture("the picture is truncated: parts of it are missing. Export it again.")
        return first


def _decode(content: bytes, luma_only: bool) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(content), formats=("JPEG", "MPO")) as image:
        if luma_only:
            image.draft("L", image.size)
        return np.asarray(image)


def _structure(content: bytes) -> tuple[int, int]:
    """The marker of the frame, and where its first scan begins."""
    position, frame = 2, 0
    while position + 4 <= len(content):
        marker = content[position + 1]
        if content[position] != 0xFF or marker == 0xFF:
            position += 1
            continue
        if marker == _START_OF_SCAN:
            return frame, position
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = marker
        standalone = marker == 1 or 0xD0 <= marker <= 0xD8
        position += 2 if standalone else 2 + int.from_bytes(content[position + 2 : position + 4])
    return frame, len(content)


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
