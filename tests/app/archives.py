"""ZIP archives for tests: of names as bytes, as foreign archivers write them, and the contents of responses."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class RawEntry:
    """A stored entry with the bytes of its name, and the different ones of its local header."""

    name: bytes
    content: bytes
    local_name: bytes | None = None
    extra: bytes = b""
    flags: int = 0


def raw_archive(*entries: RawEntry) -> bytes:
    """An archive whose names are written as they are."""
    local, central = b"", b""
    for entry in entries:
        local_name = entry.name if entry.local_name is None else entry.local_name
        common = struct.pack("<HHHHIII", entry.flags, 0, 0, 33, zlib.crc32(entry.content), len(entry.content), len(entry.content))
        central += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + common + struct.pack("<HH", len(entry.name), len(entry.extra))
        central += struct.pack("<HHHII", 0, 0, 0, 0, len(local)) + entry.name + entry.extra
        local += (
            b"PK\x03\x04" + struct.pack("<H", 20) + common + struct.pack("<HH", len(local_name), 0) + local_name + entry.content
        )
    count = len(entries)
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), len(local), 0)


def pack(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with names in UTF-8."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def unpack(content: bytes) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """The pictures in a response, and its records."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        entries = {name: archive.read(name) for name in archive.namelist()}
    return entries, json.loads(entries.pop("decisions.json"))


def tiny_picture(format: str = "PNG", **options: object) -> bytes:
    """A picture of 16 x 12 pixels."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 12)).save(buffer, format, **options)
    return buffer.getvalue()
