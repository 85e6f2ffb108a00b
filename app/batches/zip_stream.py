"""A ZIP archive as a stream: bytes leave as entries are added."""

import io
import zipfile


class _Buffer(io.RawIOBase):
    """Collects written bytes until they are taken."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._written += piece
        return len(piece)

    def take(self) -> bytes:
        written, self._written = bytes(self._written), bytearray()
        return written


class ZipStream:
    """Each method returns the bytes that the archive has grown by. Entries are stored, because pictures are compressed already."""

    def __init__(self) -> None:
        self._buffer = _Buffer()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes) -> bytes:
        """Add an entry."""
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, content)
        return self._buffer.take()

    def close(self) -> bytes:
        """End the archive with its directory."""
        self._zip.close()
        return self._buffer.take()
