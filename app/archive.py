"""A zip archive that leaves piece by piece while it is made."""

import io
import zipfile


class _Pipe(io.RawIOBase):
    """Keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._written += piece
        return len(piece)

    def taken(self) -> bytes:
        written, self._written = bytes(self._written), bytearray()
        return written


class ZipStream:
    """Entries go in, and each time what there is to send comes out. Pictures are stored: they are compressed already."""

    def __init__(self) -> None:
        self._pipe = _Pipe()
        self._zip = zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes) -> bytes:
        """What the archive has grown by with this entry."""
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, content)
        return self._pipe.taken()

    def close(self) -> bytes:
        """The archive's end."""
        self._zip.close()
        return self._pipe.taken()
