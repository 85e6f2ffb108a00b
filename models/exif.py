"""Directories of tags, as EXIF and TIFF have them, read and written with the bytes of their values unchanged.

TIFF 6.0, section 2; BigTIFF; Exif 2.32, section 4.6. Libraries decode the values, and lose what they cannot decode: texts in
UTF-8, or in another encoding than the standard's.
"""

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # by type
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_UNITS = {5: 4, 10: 4}  # rationals are pairs of numbers of four bytes
_OPAQUE = {700, 33723, 34377}  # XMP, IPTC and Photoshop's resources: bytes, of whatever type a program declares them

EXIF_POINTER, GPS_POINTER, SUBDIRECTORIES = 34665, 34853, 330
ORIENTATION, ARTIST = 274, 315
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
NO_UNIT, INCH, CENTIMETER = 1, 2, 3  # values of RESOLUTION_UNIT

MAX_DIRECTORIES = 10_000
MAX_ENTRIES = 512  # of a directory, which takes libtiff the square of their number
MAX_NUMBERS = 1_024  # of a value
_MAX_ALL_ENTRIES = 100_000  # of a file


@dataclass(frozen=True)
class Tag:
    """The value of a tag: its type, and its bytes in little-endian order."""

    type: int
    data: bytes

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.data) // SIZES[self.type]

    def numbers(self) -> tuple[float, ...]:
        """The values, at most `MAX_NUMBERS`: none of a text; what is not a finite number is 0."""
        count = min(self.count, MAX_NUMBERS)
        if self.type == ASCII:
            return ()
        if self.type in (5, 10):
            flat = struct.unpack_from(f"<{2 * count}{'I' if self.type == 5 else 'i'}", self.data)
            return tuple(flat[i] / flat[i + 1] if flat[i + 1] else 0.0 for i in range(0, len(flat), 2))
        code = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}[
            self.type
        ]
        return tuple(value if math.isfinite(value) else 0.0 for value in struct.unpack_from(f"<{count}{code}", self.data))


Directory = Mapping[int, Tag]


def short(*values: int) -> Tag:
    """A tag of numbers below 65,536."""
    return Tag(SHORT, struct.pack(f"<{len(values)}H", *values))


def long(*values: int) -> Tag:
    """A tag of numbers below 2 to the power of 32."""
    return Tag(LONG, struct.pack(f"<{len(values)}I", *values))


def rational(value: float) -> Tag:
    """A tag of one positive number, to four decimals."""
    return Tag(RATIONAL, struct.pack("<II", min(round(value * 10_000), 2**32 - 1), 10_000))


def undefined(content: bytes) -> Tag:
    """A tag of bytes."""
    return Tag(UNDEFINED, content)


class TiffReader:
    """Reads the directories of a TIFF file, or of an EXIF block, which is one.

    Values that lie outside of the content or are of an unknown type are left out, and what follows the end of the content.
    Directories and values may overlap, so what is read in all is limited: values to twice the size of the content.

    Attributes:
        ended_early: whether `directories` ended with a link to one that cannot be read.
        most_entries: the number of entries of the largest directory, of which `MAX_ENTRIES` are read.

    Args:
        content: the file, or the EXIF block with or without its `Exif` signature.
        max_bytes: the longest value that is read.

    Raises:
        ValueError: the content does not begin as a TIFF file.
    """

    def __init__(self, content: bytes, max_bytes: int = 2**31) -> None:
        content = content.removeprefix(b"Exif\0\0")
        order = {b"II": "<", b"MM": ">"}.get(content[:2])
        if order is None or len(content) < 8:
            raise ValueError("it begins with neither II nor MM")
        self.order, self.content, self.max_bytes = order, content, max_bytes
        self.ended_early, self.most_entries = False, 0
        self._offsets = list[int]()  # of the directories that were read
        self._entries_left, self._bytes_left = _MAX_ALL_ENTRIES, 2 * len(content)
        version = self._unpack("H", 2)
        if version not in (42, 43):
            raise ValueError(f"its version is {version}")
        self.is_big = version == 43
        self.first = self._unpack("Q", 8) if self.is_big else self._unpack("I", 4)

    def directories(self) -> Iterator[dict[int, Tag]]:
        """The directories of the file in their order, without those that others point to."""
        offset, seen = self.first, set[int]()
        while offset and offset not in seen and len(seen) < MAX_DIRECTORIES:
            seen.add(offset)
            self._offsets.append(offset)
            try:
                tags, offset = self._read(offset)
            except ValueError:
                self.ended_early = True
                return
            yield tags

    def with_short(self, number: int, valid: range, default: int) -> bytes:
        """The content, where a number of 16 bits in its directories that is not valid is replaced."""
        repaired, code = bytearray(self.content), self.order + "H"
        count_code, entry_size, inline = ("Q", 20, 8) if self.is_big else ("H", 12, 4)
        for offset in self._offsets:
            first = offset + struct.calcsize(count_code)
            for position in range(first, first + min(self._unpack(count_code, offset), MAX_ENTRIES) * entry_size, entry_size):
                value = position + entry_size - inline
                if value + 2 <= len(repaired) and self._unpack("H", position) == number and self._unpack("H", value) not in valid:
                    struct.pack_into(code, repaired, value, default)
        return bytes(repaired)

    def directory_at(self, pointer: Tag | None) -> dict[int, Tag]:
        """The directory that a tag points to; empty if there is none, or it cannot be read."""
        return next(iter(self.directories_at(pointer)), {})

    def directories_at(self, pointer: Tag | None) -> list[dict[int, Tag]]:
        """The directories that a tag points to."""
        found = []
        for offset in pointer.numbers() if pointer else ():
            try:
                found.append(self._read(int(offset))[0])
            except ValueError:
                continue
        return found

    def _read(self, offset: int) -> tuple[dict[int, Tag], int]:
        """A directory, and the offset of the next one."""
        count_code, offset_code, entry_size, inline = ("Q", "Q", 20, 8) if self.is_big else ("H", "I", 12, 4)
        count = self._unpack(count_code, offset)
        first = offset + struct.calcsize(count_code)
        present = min(count, (len(self.content) - first) // entry_size)
        self.most_entries, whole = max(self.most_entries, present), min(present, MAX_ENTRIES)
        self._entries_left -= 1 + whole
        if self._entries_left < 0:
            raise ValueError("there are too many entries")
        tags = {}
        for position in range(first, first + whole * entry_size, entry_size):
            number, type_ = self._unpack("H", position), self._unpack("H", position + 2)
            size = SIZES.get(type_, 0) * self._unpack(offset_code, position + 4)
            start = position + entry_size - inline
            if size > inline:
                start = self._unpack(offset_code, start)
            if 0 < size <= min(self.max_bytes, self._bytes_left) and start + size <= len(self.content):
                self._bytes_left -= size
                value = self.content[start : start + size]
                tags[number] = Tag(type_, value if number in _OPAQUE else self._little_endian(value, type_))
        last = first + count * entry_size
        return tags, self._unpack(offset_code, last) if last + inline <= len(self.content) else 0

    def _little_endian(self, data: bytes, type_: int) -> bytes:
        unit = _UNITS.get(type_, SIZES[type_])
        if self.order == "<" or unit == 1:
            return data
        return np.frombuffer(data, f">u{unit}").astype(f"<u{unit}").tobytes()

    def _unpack(self, code: str, offset: int) -> int:
        if not 0 <= offset <= len(self.content) - struct.calcsize(code):
            raise ValueError(f"the offset {offset} is beyond its end")
        value: int = struct.unpack_from(self.order + code, self.content, offset)[0]
        return value


def write_directories(directories: Iterable[Mapping[int, "Tag | Directory"]], start: int = 8) -> tuple[bytes, list[int]]:
    """Directories for the offset `start` of a file, in little-endian order, each with a link to the next; and their offsets.

    A value that is itself a directory is written before, and replaced by its offset.
    """
    content, offsets = bytearray(), list[int]()

    def append(piece: bytes) -> int:
        content.extend(bytes(len(content) % 2))
        content.extend(piece)
        return start + len(content) - len(piece)

    def append_directory(directory: Mapping[int, Tag | Directory]) -> int:
        entries = []
        for number, value in sorted(directory.items()):
            tag = value if isinstance(value, Tag) else long(append_directory(value))
            inline = tag.data.ljust(4, b"\0") if len(tag.data) <= 4 else struct.pack("<I", append(tag.data))
            entries.append(struct.pack("<HHI", number, tag.type, tag.count) + inline)
        return append(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))

    link = 0  # the place of the link at the end of the directory before
    for directory in directories:
        offset = append_directory(directory)
        if offsets:
            content[link : link + 4] = struct.pack("<I", offset)
        link = len(content) - 4
        offsets.append(offset)
    return bytes(content), offsets


def exif_block(directory: Mapping[int, "Tag | Directory"]) -> bytes:
    """An EXIF block with its signature; empty if the directory is."""
    if not directory:
        return b""
    content, (offset,) = write_directories([directory])
    return b"Exif\0\0II*\0" + struct.pack("<I", offset) + content
