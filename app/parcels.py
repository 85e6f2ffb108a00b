"""Many pictures in one request: repeated files, or a zip archive, which is not trusted."""

import asyncio
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO

from starlette.datastructures import UploadFile

from app.engine import Read
from app.errors import ServiceError
from app.names import Names, added_by_archivers, safe
from app.settings import Settings
from models.errors import BrokenPicture, PictureTooLarge

_ENTRY = 1024  # bytes of an archive's directory for one entry, generously


@dataclass(frozen=True)
class Item:
    """A picture of a parcel: its name, fit for an archive of ours, and how to read it."""

    name: str
    read: Read


def unpack(files: Sequence[UploadFile], archive: UploadFile | None, settings: Settings) -> list[Item]:
    """The pictures of a request, none of them read yet. What archivers add of their own is left out.

    Raises:
        ServiceError: no pictures, or both kinds (`bad-request`); too many, or too large unpacked (`too-large`); or no archive
            that can be read (`broken-archive`).
    """
    if bool(files) == (archive is not None):
        raise ServiceError(
            "bad-request", "send pictures in fields called files, or a zip in a field called archive: one of the two."
        )
    items = [_of_file(file, settings) for file in files] if archive is None else _of_archive(archive.file, settings)
    if not items:
        raise ServiceError("bad-request", "there is no picture in the archive: pack some into it.")
    if len(items) > settings.max_items:
        detail = f"there are more than {settings.max_items} pictures, which is the limit: send them in parts."
        raise ServiceError("too-large", detail)
    names = Names()
    return [replace(item, name=names.apart(item.name)) for item in items]


def _of_file(file: UploadFile, settings: Settings) -> Item:
    async def read() -> bytes:
        _check_size(file.size or 0, settings)
        await file.seek(0)
        return await file.read()

    return Item(safe(file.filename or ""), read)


def _of_archive(file: IO[bytes], settings: Settings) -> list[Item]:
    capped = _Capped(file, (settings.max_items + 100) * _ENTRY)
    try:
        opened = zipfile.ZipFile(capped)
        capped.longest = settings.max_batch_bytes
        entries = [entry for entry in opened.infolist() if not entry.is_dir() and not added_by_archivers(entry.filename)]
    except (zipfile.BadZipFile, OSError, ValueError, IndexError, RuntimeError, EOFError) as error:
        raise ServiceError("broken-archive", f"this is not a zip archive that can be read ({error}): pack it again.") from error
    total = sum(entry.file_size for entry in entries)
    if total > settings.max_unpacked_bytes:
        detail = f"the archive unpacks to {total} bytes, and the limit is {settings.max_unpacked_bytes}: send it in parts."
        raise ServiceError("too-large", detail)

    def of(entry: zipfile.ZipInfo) -> Item:
        def unpacked() -> bytes:
            _check_size(entry.file_size, settings)
            try:
                return opened.read(entry)  # never more than file_size, whatever the data say
            except Exception as error:  # each compression has errors of its own
                raise BrokenPicture(f"it cannot be unpacked ({error}): pack it again, without a password.") from error

        return Item(safe(entry.filename), lambda: asyncio.to_thread(unpacked))

    return [of(entry) for entry in entries]


class _Capped:
    """A file that hands out so much at a time and no more.

    An archive's directory is read in one piece, wherever the archive says that it is and however long: it would fill the memory.
    """

    def __init__(self, file: IO[bytes], longest: int) -> None:
        self._file, self.longest = file, longest
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            place = self._file.tell()
            size = self._file.seek(0, os.SEEK_END) - place
            self._file.seek(place)
        if size > self.longest:
            raise ServiceError("too-large", "the archive has more entries than it may have: send it in parts.")
        return self._file.read(size)


def _check_size(size: int, settings: Settings) -> None:
    if size > settings.max_bytes:
        raise PictureTooLarge(f"the picture has {size} bytes, and the limit is {settings.max_bytes}: send a smaller file.")
