"""A batch: every picture of a parcel coloured in turn, the zip leaving while it is painted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from pydantic import TypeAdapter

from app.archive import ZipStream
from app.engine import Engine
from app.errors import described
from app.names import Names, answer_name
from app.parcels import Item
from app.schemas import PictureRecord
from models.ensemble import Options

DECISIONS = "decisions.json"

_RECORDS = TypeAdapter(list[PictureRecord])


class Answers:
    """The zip that people get: every answer under a name of its own, and `decisions.json` last. It leaves piece by piece."""

    def __init__(self) -> None:
        self._zip, self._names = ZipStream(), Names(DECISIONS)
        self._records: list[PictureRecord] = []

    def add(self, record: PictureRecord, content: bytes | None) -> bytes:
        """What there is to send after this record, and its answer if there is one."""
        self._records.append(record)
        if content is None or record.output is None:
            return b""
        record.output = self._names.apart(record.output)
        return self._zip.add(record.output, content)

    def close(self) -> bytes:
        """The rest."""
        decisions = _RECORDS.dump_json(self._records, indent=1, exclude_none=True) + b"\n"
        return self._zip.add(DECISIONS, decisions) + self._zip.close()


async def painted(
    engine: Engine, item: Item, options: Options, own: tuple[type[Exception], ...] = (Exception,)
) -> tuple[PictureRecord, bytes | None]:
    """A picture of many: its record, and the answer unless there is a problem of its `own`; other errors are raised.

    The record's output is the item's name with the answer's suffix.
    """
    try:
        content, format, decision = await engine.colorize(item.read, options, background=True)
    except own as error:
        return PictureRecord(name=item.name, problem=described(error)), None
    return PictureRecord(name=item.name, output=answer_name(item.name, format), decision=decision), content


async def zipped(engine: Engine, items: Sequence[Item], options: Options) -> AsyncIterator[bytes]:
    """The zip of a batch, picture by picture in their order, and `decisions.json` last.

    So many pictures are begun ahead that the cores stay busy, and no more, so that a slow client holds few in memory.
    """
    answers = Answers()
    ahead: deque[asyncio.Task[tuple[PictureRecord, bytes | None]]] = deque()
    waiting = iter(items)
    try:
        while True:
            while len(ahead) < engine.places and (item := next(waiting, None)) is not None:
                ahead.append(asyncio.create_task(painted(engine, item, options)))
            if not ahead:
                break
            record, content = await ahead.popleft()
            yield await asyncio.to_thread(answers.add, record, content)
        yield answers.close()
    finally:
        for task in ahead:
            task.cancel()
