"""Metadata from the input to the output: EXIF, XMP, IPTC, texts and resolution."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from PIL import ExifTags

from models import exif, xmp
from models.exif import Directory, Tag, TiffReader
from models.options import MetadataPolicy

Tags = Mapping[int, Tag | Directory]

# Tags of a TIFF directory that describe the picture; the others describe the file
_DESCRIPTIVE = {
    ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software, ExifTags.Base.DateTime,
    ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright, ExifTags.Base.DocumentName, ExifTags.Base.PageName,
    ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject,
    ExifTags.Base.Rating,
}  # fmt: skip
# Tags of the Exif directory that are opaque, or not true of the output
_STALE = {
    ExifTags.Base.MakerNote, ExifTags.Base.ColorSpace, ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
}  # fmt: skip
COMMENT = "Comment"  # the text that a JPEG file can hold
_MAX_DPI = 65_535  # of JPEG
_MAX_VALUE = 2**20  # bytes of a value of EXIF
_LISTED, _MAX_KEY = 5, 79  # texts that a note lists, and characters of their keys: a segment of a JPEG file must hold the notes

_IPTC_LOCATIONS = {(2, 26), (2, 27), (2, 92)}  # code and name of the location, sublocation
_EXTENDED = 0x8000  # added to the number of bytes of the size of a dataset
_MIN_POSITION = 6  # bytes of a text

_JPEG_SEGMENT = 65_000  # bytes of EXIF or IPTC, or of a comment, with some room for signatures
_HOLDS_IPTC = {"jpeg", "png", "tiff"}
FORMAT_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF", "avif": "AVIF"}


@dataclass(frozen=True)
class Metadata:
    """The metadata that is copied from the input to the output.

    Args:
        dpi: horizontal and vertical resolution in pixels per inch.
        exif: the descriptive tags of the first directory of EXIF, and the Exif and the GPS directory.
        xmp: an XMP packet.
        iptc: an IPTC record (IIM).
        texts: PNG texts; a JPEG comment is the text `Comment`.
        notes: what the input has that cannot be kept.
    """

    dpi: tuple[float, float] | None = None
    exif: Tags = field(default_factory=dict)
    xmp: bytes = b""
    iptc: bytes = b""
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def filtered(self, policy: MetadataPolicy) -> "Metadata":
        """The part that the policy keeps; the resolution is always kept."""
        if policy == "strip":
            return Metadata(self.dpi, notes=self.notes)
        kept = self
        if self.xmp and not xmp.is_readable(self.xmp):
            kept = replace(self, xmp=b"", notes=(*self.notes, "the XMP packet cannot be kept: it is damaged, too long or too deep"))
        if policy == "keep-gps":
            return kept
        texts = {key: text for key, text in self.texts.items() if not xmp.is_position(key, text)}
        tags = _without_positions(self.exif)
        return replace(kept, exif=tags, xmp=xmp.without_positions(kept.xmp), iptc=_without_location(self.iptc), texts=texts)

    def fitted(self, format: str) -> "Metadata":
        """The part that a file of the format can hold; the rest is named in the notes."""
        kept, lost = self, []
        texts = (
            self.texts if format == "png" else {COMMENT: self.texts[COMMENT]} if format == "jpeg" and COMMENT in self.texts else {}
        )
        if dropped := sorted(set(self.texts) - set(texts)):
            more = f" and {len(dropped) - _LISTED} more" if len(dropped) > _LISTED else ""
            lost.append(f"the text {', '.join(key[:_MAX_KEY] for key in dropped[:_LISTED])}{more}")
        if format == "jpeg" and len(texts.get(COMMENT, "").encode()) > _JPEG_SEGMENT:
            texts = {}
            lost.append("the comment, which is too long,")
        kept = replace(kept, texts=texts)
        if self.iptc and (format not in _HOLDS_IPTC or (format == "jpeg" and len(self.iptc) > _JPEG_SEGMENT)):
            kept = replace(kept, iptc=b"")
            lost.append("the IPTC record")
        if format == "jpeg" and len(exif.exif_block(self.exif)) > _JPEG_SEGMENT:
            kept = replace(kept, exif={})
            lost.append("the EXIF data, which are too long,")
        return replace(kept, notes=(*self.notes, *(f"{what} cannot be kept in {FORMAT_NAMES[format]}" for what in lost)))

    def exif_block(self, with_resolution: bool = False) -> bytes:
        """The EXIF block; `with_resolution` for formats that have no other place for it."""
        resolution = resolution_tags(self.dpi) if with_resolution else {}
        return exif.exif_block({**self.exif, **resolution})


class ExifContent(NamedTuple):
    """What an EXIF block says: descriptive tags, resolution in pixels per inch, orientation 1 to 8, and notes."""

    tags: Tags
    dpi: tuple[float, float] | None
    orientation: int
    notes: tuple[str, ...] = ()


def read_exif(content: bytes) -> ExifContent:
    """What an EXIF block says; damaged parts are left out."""
    if not content:
        return ExifContent({}, None, 1)
    try:
        reader = TiffReader(content, max_bytes=_MAX_VALUE)
        first = next(reader.directories(), {})
    except ValueError as error:
        return ExifContent({}, None, 1, (f"the EXIF data cannot be read: {error}",))
    return read_directory(reader, first)


def read_directory(reader: TiffReader, first: Mapping[int, Tag]) -> ExifContent:
    """What the first directory of an EXIF block, or a directory of a TIFF file, says."""
    tags: dict[int, Tag | Directory] = {number: first[number] for number in _DESCRIPTIVE & set(first)}
    for pointer in (exif.EXIF_POINTER, exif.GPS_POINTER):
        directory = reader.directory_at(first.get(pointer))
        if kept := {number: tag for number, tag in directory.items() if number not in _STALE}:
            tags[pointer] = kept
    orientation = int(_number(first, exif.ORIENTATION, 1))
    return ExifContent(tags, _resolution_of(first), orientation if 1 <= orientation <= 8 else 1)


def _without_positions(tags: Tags) -> Tags:
    """The tags without the GPS directory, and without texts that contain coordinates, in any directory."""
    kept: dict[int, Tag | Directory] = {}
    for number, value in tags.items():
        if not isinstance(value, Tag):
            if number != exif.GPS_POINTER:
                kept[number] = {key: tag for key, tag in value.items() if not _is_position(tag)}
        elif not _is_position(value):
            kept[number] = value
    return kept


def _is_position(tag: Tag) -> bool:
    is_text = tag.type in (exif.BYTE, exif.ASCII, exif.UNDEFINED) and tag.count >= _MIN_POSITION
    encodings = ("utf-8", "latin-1", "utf-16-le", "utf-16-be") if is_text else ()
    return any(xmp.is_position("", tag.data.decode(encoding, errors="ignore")) for encoding in encodings)


def _without_location(iptc: bytes) -> bytes:
    """An IPTC record without the datasets of the place where the picture was taken, and those that contain coordinates.

    What follows damage is left out if it may be one of them.
    """
    kept, position = bytearray(), 0
    while iptc[position : position + 1] == b"\x1c" and position + 5 <= len(iptc):
        number, start = (iptc[position + 1], iptc[position + 2]), position + 5
        size = int.from_bytes(iptc[position + 3 : start])
        if size >= _EXTENDED:  # the size has so many bytes, which follow
            start += size - _EXTENDED
            size = int.from_bytes(iptc[position + 5 : start][:8])
        if start + size > len(iptc):
            break
        if not _is_location(number, iptc[start : start + size]):
            kept += iptc[position : start + size]
        position = start + size
    rest = iptc[position:]
    has_location = any(bytes((0x1C, *number)) in rest for number in _IPTC_LOCATIONS)
    return bytes(kept if has_location or _is_location((0, 0), rest) else kept + rest)


def _is_location(number: tuple[int, int], content: bytes) -> bool:
    return number in _IPTC_LOCATIONS or (len(content) >= _MIN_POSITION and xmp.is_position("", decoded_text(content)))


def valid_dpi(dpi: object) -> tuple[float, float] | None:
    """Pixels per inch, if they are numbers that every format can hold; 1 is what programs write that know none."""
    try:
        horizontal, vertical = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if all(1 < value <= _MAX_DPI for value in (horizontal, vertical)) else None


def resolution_tags(dpi: tuple[float, float] | None) -> dict[int, Tag]:
    """The tags of a TIFF or EXIF directory for a resolution."""
    if dpi is None:
        return {}
    return {
        exif.X_RESOLUTION: exif.rational(dpi[0]),
        exif.Y_RESOLUTION: exif.rational(dpi[1]),
        exif.RESOLUTION_UNIT: exif.short(exif.INCH),
    }


def decoded_text(content: bytes) -> str:
    """A text in UTF-8, or in Latin-1 if it is not."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _resolution_of(tags: Mapping[int, Tag]) -> tuple[float, float] | None:
    unit = _number(tags, exif.RESOLUTION_UNIT, exif.INCH)  # inches are the default of the standard
    factor = {exif.INCH: 1.0, exif.CENTIMETER: 2.54}.get(int(unit))
    if factor is None:
        return None
    return valid_dpi([_number(tags, number, 0) * factor for number in (exif.X_RESOLUTION, exif.Y_RESOLUTION)])


def _number(tags: Mapping[int, Tag], number: int, default: float) -> float:
    tag = tags.get(number)
    values = tag.numbers() if tag is not None and tag.type != exif.ASCII else ()
    return values[0] if values else default
