"""The items of a request with several pictures: repeated files, or a ZIP archive, which is not trusted."""

import asyncio
import os
import struct
import zipfile
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import IO

from starlette.datastructures import UploadFile

from app.batches.entry_names import entry_names
from app.batches.file_names import UniqueNames, is_system_file, safe_name
from app.errors import ServiceError
from app.inference.engine import Read
from app.settings import Settings
from models.errors import BrokenPicture, PictureTooLarge

_ENTRY_BYTES = 1024  # generous size of an entry in the directory of an archive
_LOCAL_HEADER = 30  # bytes before the name
_LONGEST_END = 65_557  # bytes of the end of an archive with a comment
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags


@dataclass(frozen=True)
class Item:
    """One picture of a batch or a job: its name as it was sent, a safe and unique path, and a function that reads it."""

    name: str
    path: str
    read: Read


def read_items(files: Sequence[UploadFile], archive: UploadFile | None, settings: Settings) -> list[Item]:
    """The items of a request, whose contents are not read yet. Files that archivers add are left out.

    Raises:
        ServiceError: there are no pictures, or both files and an archive (`bad-request`); too many items, or too large when
            unpacked (`too-large`); or the archive cannot be read (`broken-archive`).
    """
    if bool(files) == (archive is not None):
        raise ServiceError(
            "bad-request", "send either pictures in fields called files, or a zip archive in a field called archive."
        )
    items = [_item_of_file(file, settings) for file in files] if archive is None else _items_of_archive(archive.file, settings)
    if not items:
        raise ServiceError("bad-request", "there is no picture in the archive: add some to it.")
    if len(items) > settings.max_items:
        detail = f"there are more than {settings.max_items} pictures, which is the limit: send them in parts."
        raise ServiceError("too-large", detail)
    names = UniqueNames()
    return [replace(item, path=names.claim(item.path)) for item in items]


def _item_of_file(file: UploadFile, settings: Settings) -> Item:
    async def read() -> bytes:
        _check_size(file.size or 0, settings)
        await file.seek(0)
        return await file.read()

    return _item(file.filename or "picture", read)


def _items_of_archive(file: IO[bytes], settings: Settings) -> list[Item]:
    limited = _LimitedReader(file, (settings.max_items + 100) * _ENTRY_BYTES)
    try:
        archive = _open(limited)
        limited.max_read = settings.max_batch_bytes
        named = zip(archive.infolist(), entry_names(archive.infolist()), strict=True)
        entries = [(entry, name) for entry, name in named if not name.endswith(("/", "\\")) and not is_system_file(name)]
        _refuse_overlaps(archive.infolist())
        for entry, _ in entries:
            _accept_other_slashes(limited, entry)
    except (zipfile.BadZipFile, OSError, ValueError, IndexError, RuntimeError, EOFError, struct.error) as error:
        raise ServiceError("broken-archive", f"this is not a zip archive that can be read ({error}): create it again.") from error
    total = sum(entry.file_size for entry, _ in entries)
    if total > settings.max_unpacked_bytes:
        detail = f"the archive unpacks to {total} bytes, and the limit is {settings.max_unpacked_bytes}: send it in parts."
        raise ServiceError("too-large", detail)

    def item_of(entry: zipfile.ZipInfo, name: str) -> Item:
        def unpack() -> bytes:
            _check_size(entry.file_size, settings)
            try:
                return archive.read(entry)  # never more than file_size, whatever the data contain
            except Exception as error:  # every compression method raises errors of its own
                raise BrokenPicture(f"it cannot be unpacked ({error}): {_repack(entry)}.") from error

        return _item(name, lambda: asyncio.to_thread(unpack))

    return [item_of(entry, name) for entry, name in entries]


def _open(file: "_LimitedReader") -> zipfile.ZipFile:
    """The archive, also if it says of a name that it is in UTF-8 and it is not, for which zipfile refuses the whole archive."""
    try:
        return zipfile.ZipFile(file)
    except UnicodeDecodeError:
        file.wrong_flags = sorted(_wrong_flags(file))
        return zipfile.ZipFile(file)


def _wrong_flags(file: "_LimitedReader") -> list[int]:
    """The positions of the bytes that say so, in the directory and before the entry. APPNOTE 6.3.10, 4.3.7, 4.3.12 and 4.3.16."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - _LONGEST_END))
    tail = file.read(end - start)
    position = tail.rfind(b"PK\x05\x06")
    size, offset = struct.unpack_from("<II", tail, position + 12)
    first, found, entry = start + position - size, [], 0
    file.seek(first)
    directory = file.read(size)
    while directory[entry : entry + 4] == b"PK\x01\x02":
        (flags,) = struct.unpack_from("<H", directory, entry + 8)
        lengths = struct.unpack_from("<HHH", directory, entry + 28)  # of name, extra field and comment
        name = directory[entry + 46 : entry + 46 + lengths[0]]
        if flags & _UTF8 and not _is_utf8(name):
            (header,) = struct.unpack_from("<I", directory, entry + 42)
            found += [first + entry + 9, first - offset + header + 7]
        entry += 46 + sum(lengths)
    return found


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_overlaps(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise a BadZipFile if entries share their data, of which a small archive could unpack to any size."""
    end = 0
    for entry in sorted(entries, key=attrgetter("header_offset")):
        if entry.header_offset < end:
            raise zipfile.BadZipFile(f"the entry {entry.filename!r} overlaps the one before")
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size


def _item(name: str, read: Read) -> Item:
    return Item(name.encode(errors="replace").decode(), safe_name(name), read)


def _repack(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & _ENCRYPTED:
        return "create the archive again, without a password"
    return "create the archive again, with the method deflate or stored"


def _accept_other_slashes(file: "_LimitedReader", entry: zipfile.ZipInfo) -> None:
    """Some archivers write other slashes in the header of an entry than in the directory, which zipfile takes for damage."""
    if "\\" not in entry.orig_filename and "/" not in entry.orig_filename:
        return
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    if header[:4] != b"PK\x03\x04":
        return
    (size,) = struct.unpack_from("<H", header, 26)
    encoding = "utf-8" if struct.unpack_from("<H", header, 6)[0] & _UTF8 else "cp437"
    name = file.read(size).decode(encoding, errors="replace")
    if name.replace("\\", "/") == entry.orig_filename.replace("\\", "/"):
        entry.orig_filename = name


class _LimitedReader:
    """A file that refuses to read more than `max_read` bytes at once.

    The directory of an archive is read in one piece, at a place and of a length that the archive claims, which could fill the
    memory. The flag for UTF-8 is cleared in the bytes at `wrong_flags`, which are in order.
    """

    def __init__(self, file: IO[bytes], max_read: int) -> None:
        self._file, self.max_read = file, max_read
        self.wrong_flags: Sequence[int] = ()
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            position = self._file.tell()
            size = self._file.seek(0, os.SEEK_END) - position
            self._file.seek(position)
        if size > self.max_read:
            raise ServiceError("too-large", "the archive has more entries than allowed: send it in parts.")
        position = self._file.tell()
        content = self._file.read(size)
        if not self.wrong_flags:
            return content
        first, end = (bisect_left(self.wrong_flags, place) for place in (position, position + len(content)))
        changed = bytearray(content)
        for flag in self.wrong_flags[first:end]:
            changed[flag - position] &= ~(_UTF8 >> 8)
        return bytes(changed)


def _check_size(size: int, settings: Settings) -> None:
    if size > settings.max_bytes:
        raise PictureTooLarge(f"the picture has {size} bytes, and the limit is {settings.max_bytes}: send a smaller file.")
