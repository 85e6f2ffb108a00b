"""Decodes files to `Picture`: upright, without color, with a limit on pixels. Nothing here needs torch."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from models.decoders import READS, EncodedFile, open_file
from models.errors import BrokenPicture, OptionError, PictureError
from models.luma import SampleArray, UInt8Array, UInt16Array, to_uint8
from models.metadata import Metadata
from models.samples import luma_of

__all__ = ["MAX_PIXELS", "READS", "WRITES", "Document", "FileInfo", "Picture", "decode", "output_format", "reduced"]

WRITES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "tiff": "image/tiff", "avif": "image/avif"}

MAX_PIXELS = 120_000_000

_LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 16_384}  # pixels; the limits of the encoders


@dataclass(frozen=True)
class Picture:
    """A decoded picture without color, upright.

    Args:
        luma: BT.601 luma `(h,w)` in levels of 0 to 255.
        alpha: `(h,w)` in levels of 0 to 255, or of 0 to 65535 if there is a `luma16`; or None.
        format: of the file, in lower case.
        luma16: the luma `(h,w)` in levels of 0 to 65535, for pictures of more than 8 bits.
        metadata: of the file.
        page: the number of the page in its file, from 1.
        page_count: the number of pages of the file.
    """

    luma: UInt8Array
    alpha: SampleArray | None
    format: str
    luma16: UInt16Array | None = None
    metadata: Metadata = field(default_factory=Metadata)
    page: int = 1
    page_count: int = 1

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.luma.shape[1])


@dataclass(frozen=True)
class FileInfo:
    """What the header of a file says.

    Args:
        format: of the file, in lower case.
        sizes: width and height of each page, before it is turned upright; only TIFF files have more than one page.
    """

    format: str
    sizes: tuple[tuple[int, int], ...]

    @property
    def page_count(self) -> int:
        """The number of pages."""
        return len(self.sizes)

    def output_format(self, requested: str) -> str:
        """The format of the output: as requested; for `auto` that of the input, or PNG if that cannot be written or is too small.

        Raises:
            OptionError: the requested format cannot hold a picture with such a long side.
        """
        return output_format(requested, self.format, max(max(size) for size in self.sizes))

    def pages(self, requested: int | None, format: str) -> list[int]:
        """The pages, from 1, of an output in this format: the requested one; otherwise all for TIFF, and the first for others.

        Raises:
            OptionError: there is no such page.
        """
        if requested is not None and requested > self.page_count:
            raise OptionError("page", requested, f"a whole number from 1 to {self.page_count}, the number of pages of this file")
        if requested is not None:
            return [requested]
        return list(range(1, self.page_count + 1)) if format == "tiff" else [1]


class Document:
    """A file whose header was read, and whose pages are decoded one at a time.

    Attributes:
        info: what the header says.

    Args:
        content: JPEG, PNG, TIFF, WebP, GIF (first frame), BMP, AVIF, JPEG 2000, or HEIC with the extra `heif`; in any depth,
            color model and EXIF orientation.
        max_pixels: of a page.

    Raises:
        NotAPicture: the bytes are in none of these formats.
        BrokenPicture: the header cannot be read.
        PictureTooLarge: a page has more than `max_pixels`.
    """

    def __init__(self, content: bytes, max_pixels: int = MAX_PIXELS) -> None:
        self._file: EncodedFile = open_file(content)
        self.info = FileInfo(self._file.format, tuple(self._file.sizes))
        for page in range(self.info.page_count):
            self._file.check_size(page, max_pixels)

    def close(self) -> None:
        """Free the file, whose pages cannot be decoded any more: large files should not stay in memory beside their pixels."""
        del self._file

    def decode(self, page: int, format: str = "auto") -> Picture:
        """Decode a page, from 1.

        Color is dropped as by Pillow's `convert("L")`, after a conversion to sRGB if there is an ICC profile of another space.
        The luma plane of a JPEG file is read without a conversion if the output (`format`) is a JPEG as well.

        Raises:
            BrokenPicture: the page cannot be decoded completely.
        """
        try:
            decoded = self._file.decode(page - 1, luma_only=self.info.format == "jpeg" and format in ("auto", "jpeg"))
            luma, luma16, notes = luma_of(decoded.samples)
        except (MemoryError, PictureError):
            raise
        except Exception as error:  # decoders raise almost anything on damaged content
            raise BrokenPicture(f"the picture is truncated or damaged ({error}): export it again.") from error
        metadata, turn = decoded.metadata, decoded.orientation
        dpi = metadata.dpi[::-1] if metadata.dpi and turn >= 5 else metadata.dpi
        metadata = replace(metadata, dpi=dpi, notes=(*metadata.notes, *notes))
        luma, alpha, luma16 = (_upright(plane, turn) for plane in (luma, decoded.samples.alpha, luma16))
        return Picture(luma, alpha, self.info.format, luma16, metadata, page, self.info.page_count)


def decode(content: bytes, max_pixels: int = MAX_PIXELS, output_format: str = "auto") -> Picture:
    """Decode the first page of a file; arguments and errors as for `Document`."""
    return Document(content, max_pixels).decode(1, output_format)


def reduced(picture: Picture, long_side: int) -> Picture:
    """A picture of 8 bits whose long side has at most so many pixels, for previews; without metadata."""
    scale = min(1.0, long_side / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    alpha: Any = picture.alpha
    if alpha is not None and alpha.dtype != np.uint8:
        alpha = to_uint8(alpha)
    luma, alpha = (
        None if plane is None else np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX, reducing_gap=3.0))
        for plane in (picture.luma, alpha)
    )
    assert luma is not None
    return Picture(luma, alpha, picture.format, page=picture.page, page_count=picture.page_count)


def output_format(requested: str, source: str, longest: int) -> str:
    """The format of the output for a picture of the format `source`; see `FileInfo.output_format`."""
    if requested == "auto":
        return source if source in WRITES and longest <= _LONGEST_SIDE.get(source, longest) else "png"
    if longest > _LONGEST_SIDE.get(requested, longest):
        raise OptionError(
            "format", requested, f"png or tiff for a side of {longest} pixels ({requested} allows {_LONGEST_SIDE[requested]})"
        )
    return requested


def _upright(plane: Any, orientation: int) -> Any:
    """A plane turned by its EXIF orientation; None stays None."""
    if plane is None or orientation == 1:
        return plane
    if orientation >= 5:  # rows and columns are exchanged
        plane = plane.T
    flips = {2: (False, True), 3: (True, True), 4: (True, False), 6: (False, True), 7: (True, True), 8: (True, False)}
    down, across = flips.get(orientation, (False, False))
    return np.ascontiguousarray(plane[:: -1 if down else 1, :: -1 if across else 1])
