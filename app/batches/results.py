"""The results of a batch or a job: records, and a ZIP archive that is streamed as items finish."""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from pydantic import TypeAdapter

from app.batches.file_names import UniqueNames, output_name
from app.batches.uploads import Item
from app.batches.zip_format import ZipEntry, directory
from app.errors import problem_of
from app.inference.engine import Engine
from app.schemas import BatchOptions, ItemRecord

DECISIONS = "decisions.json"
ZIP_HEADERS = {"Content-Disposition": 'attachment; filename="colorized.zip"'}

_RECORDS = TypeAdapter(list[ItemRecord])


class ResultArchive:
    """The ZIP archive of results: each output under a unique name, and `decisions.json` last. Methods return the bytes to send.

    Args:
        date: of the entries.
    """

    def __init__(self, date: datetime) -> None:
        self._date, self._names = date.astimezone(), UniqueNames(DECISIONS)
        self._entries: list[ZipEntry] = []
        self._records: list[ItemRecord] = []

    def add(self, record: ItemRecord, content: bytes | None) -> bytes:
        """Add a record, and its output if there is one."""
        entry = self.list(record, 0 if content is None else len(content), 0 if content is None else zlib.crc32(content))
        return b"" if entry is None or content is None else entry.header + content

    def list(self, record: ItemRecord, size: int, crc32: int) -> ZipEntry | None:
        """Add a record, and the entry of its output if there is one, whose content is not needed."""
        self._records.append(record)
        if record.output is None:
            return None
        record.output = self._names.claim(record.output)
        self._entries.append(ZipEntry(record.output, size, crc32, self._date))
        return self._entries[-1]

    def close(self) -> bytes:
        """Add `decisions.json` and the directory of the archive."""
        decisions = _RECORDS.dump_json(self._records, indent=1, exclude_none=True) + b"\n"
        last = ZipEntry(DECISIONS, len(decisions), zlib.crc32(decisions), self._date)
        return last.header + decisions + directory([*self._entries, last])


async def colorize_item(
    engine: Engine, item: Item, options: BatchOptions, bundle: str, item_errors: tuple[type[Exception], ...] = (Exception,)
) -> tuple[ItemRecord, bytes | None]:
    """The record of an item and its output, by the bundle of that name.

    Exceptions of the types `item_errors` become the problem of the item.
    The output of the record is the path of the item with the suffix of the format.
    """
    try:
        content, format, decision = await engine.colorize(item.read, options.of(item.name), bundle, background=True)
    except item_errors as error:
        return ItemRecord(name=item.name, problem=problem_of(error)), None
    return ItemRecord(name=item.name, output=output_name(item.path, format), decision=decision), content


async def stream_results(engine: Engine, items: Sequence[Item], options: BatchOptions, bundle: str) -> AsyncIterator[bytes]:
    """The ZIP archive of a batch, in the order of the items, by the bundle of that name.

    Enough items are started ahead to keep the cores busy, and no more, so that few results wait in memory for a slow client.
    """
    archive = ResultArchive(datetime.now())
    started: deque[asyncio.Task[tuple[ItemRecord, bytes | None]]] = deque()
    waiting = iter(items)
    try:
        while True:
            while len(started) < engine.slots and (item := next(waiting, None)) is not None:
                started.append(asyncio.create_task(colorize_item(engine, item, options, bundle)))
            if not started:
                break
            record, content = await started.popleft()
            yield await asyncio.to_thread(archive.add, record, content)
        yield archive.close()
    finally:
        for task in started:
            task.cancel()
