"""The structures of a ZIP archive of stored entries whose sizes are known, so that any part of it can be made without the rest.

APPNOTE 6.3.10, 4.3.7 to 4.3.16. Entries are stored, because pictures are compressed already. `zipfile` writes only whole archives.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_UTF8 = 0x800  # flag: the name is in UTF-8
_UNIX, _FILE_MODE = 3, 0o100644
_VERSION, _VERSION_64 = 20, 45
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class ZipEntry:
    """A stored entry: its name, size in bytes (below 4 GiB), CRC-32 and date."""

    name: str
    size: int
    crc32: int
    date: datetime

    @property
    def header(self) -> bytes:
        """The bytes before the content."""
        return b"PK\x03\x04" + self._common(_VERSION) + self.name.encode()

    @property
    def length(self) -> int:
        """The bytes of the entry in the archive, without its part of the directory."""
        return len(self.header) + self.size

    def listed(self, offset: int) -> bytes:
        """Its part of the directory, for an entry that begins at `offset`."""
        large = offset >= _MAX_32
        extra = struct.pack("<HHQ", 1, 8, offset) if large else b""
        made_by, version = _UNIX << 8 | _VERSION_64, _VERSION_64 if large else _VERSION
        common = bytearray(self._common(version))
        struct.pack_into("<H", common, 24, len(extra))
        rest = struct.pack("<HHHII", 0, 0, 0, _FILE_MODE << 16, _MAX_32 if large else offset)
        return b"PK\x01\x02" + struct.pack("<H", made_by) + bytes(common) + rest + self.name.encode() + extra

    def _common(self, version: int) -> bytes:
        date = self.date
        time = date.hour << 11 | date.minute << 5 | date.second // 2
        day = min(max(0, date.year - 1980), 127) << 9 | date.month << 5 | date.day
        return struct.pack(
            "<HHHHHIIIHH", version, _UTF8, 0, time, day, self.crc32, self.size, self.size, len(self.name.encode()), 0
        )  # fmt: skip


def directory(entries: Sequence[ZipEntry]) -> bytes:
    """What follows the entries of an archive."""
    offset, listed = 0, []
    for entry in entries:
        listed.append(entry.listed(offset))
        offset += entry.length
    size, count = sum(map(len, listed)), len(entries)
    end_64 = b""
    if offset + size >= _MAX_32 or count >= _MAX_16:
        end_64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, _VERSION_64, _VERSION_64, 0, 0, count, count, size, offset)
        end_64 += b"PK\x06\x07" + struct.pack("<IQI", 0, offset + size, 1)
    counts = min(count, _MAX_16)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, counts, counts, min(size, _MAX_32), min(offset, _MAX_32), 0)
    return b"".join(listed) + end_64 + end
