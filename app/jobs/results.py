"""The results of a job as a ZIP archive of which any part can be sent: its layout is known before a picture is read."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.batches.results import ResultArchive
from app.jobs.folder import JobFolder

PIECE = 256 * 1024  # bytes that are read at a time


@dataclass(frozen=True)
class JobArchive:
    """The parts of an archive, in order: bytes, or a file of a known size; and an ETag that identifies the content."""

    parts: tuple[tuple[bytes | Path, int], ...]
    etag: str

    @property
    def size(self) -> int:
        """The bytes of the archive."""
        return sum(size for _, size in self.parts)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop`.

        Raises:
            FileNotFoundError: the job was deleted.
            EOFError: an output is shorter than its record says.
        """
        for part, size in self.parts:
            first, last = max(0, start), min(size, stop)
            if first < last:
                yield from [part[first:last]] if isinstance(part, bytes) else read_file(part, first, last)
            start, stop = start - size, stop - size


def job_archive(job: JobFolder) -> JobArchive:
    """The archive of the finished items of a job; equal jobs have equal archives.

    Raises:
        FileNotFoundError: the job was deleted.
    """
    archive = ResultArchive(job.card.created)
    parts: list[tuple[bytes | Path, int]] = []
    for index in range(len(job.card.names)):
        record = job.record(index)
        if record is None:
            continue
        size, crc32 = record.size, record.crc32
        if record.output is not None and (size is None or crc32 is None):  # a job of an earlier version
            content = job.output(index).read_bytes()
            size, crc32 = len(content), zlib.crc32(content)
        entry = archive.list(record, size or 0, crc32 or 0)
        if entry is not None:
            parts += [(entry.header, len(entry.header)), (job.output(index), entry.size)]
    end = archive.close()
    parts.append((end, len(end)))
    identity = hashlib.sha256(b"".join(part for part, _ in parts if isinstance(part, bytes)))
    return JobArchive(tuple(parts), f'"{identity.hexdigest()[:32]}"')


def read_file(path: Path, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a file from `start` to `stop`.

    Raises:
        FileNotFoundError: the job was deleted.
        EOFError: the file is shorter.
    """
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            piece = file.read(min(PIECE, stop - start))
            if not piece:
                raise EOFError(f"{path.name} is shorter than its record says")
            start += len(piece)
            yield piece
