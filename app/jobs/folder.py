"""A job on the disk: a folder in which every file is either complete or absent.

    jobs/ID/job.json          names and options; the folder appears when the upload is complete
    jobs/ID/in/000000         uploaded items
    jobs/ID/out/000000        outputs
    jobs/ID/out/000000.done   records; .failed for an item that has a problem instead of an output
    jobs/ID/out/000000.try    how often a server has ended while it processed the item
    jobs/ID/cancelled         exists once the job was cancelled
    jobs/ID/webhook.json      the state of its webhook

There is no other state: any process that can read the folder can report on a job and continue it. What is damaged on the disk does
not count: an item without a readable record, or with an output of another size than its record says, is not finished.
"""

import os
import shutil
import stat
import tempfile
import zlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from app.batches.uploads import Item
from app.errors import PROBLEM_TYPES, ServiceError, problem_of
from app.inference.bundles import DEFAULT
from app.inference.engine import Read
from app.jobs.webhooks import Delivery
from app.schemas import BatchOptions, ItemRecord, JobStatus
from models.atomic_files import replace_file

_RECORDS = (".done", ".failed")
_DELIVERY = TypeAdapter(Delivery)


class JobCard(BaseModel):
    """The content of `job.json`. `owner` is the name of the API key; `digest` identifies items and options.

    `arrival` differs each time: a job that was deleted and sent again under the same `id` has other tasks in the queue.
    `bundle` is the name of the bundle that colorizes it, and `traceparent` the request that created it.
    """

    id: str
    arrival: str
    created: datetime
    owner: str | None
    bundle: str = DEFAULT
    digest: str = ""
    options: BatchOptions
    webhook: str | None = None
    names: list[str]
    traceparent: str = ""
    paths: list[str] = []  # empty in jobs of earlier versions, whose names are safe paths

    def item(self, index: int, read: Read) -> Item:
        """An item of the job; `read` returns its upload."""
        return Item(self.names[index], (self.paths or self.names)[index], read)


class StoredRecord(ItemRecord):
    """The record of an item, with size and CRC-32 of its output."""

    size: int | None = Field(None, ge=0, lt=2**32)  # what an archive can hold; a damaged record may have any number
    crc32: int | None = Field(None, ge=0, lt=2**32)


class JobFolder:
    """A job whose upload is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not all((folder / name).is_dir() for name in ("in", "out")):
            raise FileNotFoundError(f"{folder} is not complete")
        card = JobCard.model_validate_json((folder / "job.json").read_bytes())
        self.card = card.model_copy(update={"id": folder.name})  # the name by which it is found, if its file is damaged

    def read_input(self, index: int) -> bytes:
        """An uploaded item."""
        return (self.folder / "in" / f"{index:06}").read_bytes()

    def output(self, index: int) -> Path:
        """The file of the output of an item."""
        return self.folder / "out" / f"{index:06}"

    def record(self, index: int) -> StoredRecord | None:
        """The record of an item; None if it is not finished."""
        for path in self._records(index):
            if is_finished(path):
                try:
                    return StoredRecord.model_validate_json(path.read_bytes())
                except ValidationError:  # it was damaged later, without a change of its date
                    _is_finished.cache_clear()
        return None

    def begin(self, index: int) -> int:
        """Record that an item is processed now, and return how often a server has ended while it was."""
        ended, mark = self.ended(index), self._mark(index)
        if mark.is_dir():
            _remove(mark)
        mark.write_bytes(str(ended + 1).encode())
        return ended

    def ended(self, index: int) -> int:
        """How often a server has ended while it processed an item that is not finished."""
        try:
            return int(self._mark(index).read_bytes())
        except (OSError, ValueError):
            return 0

    def end(self, index: int) -> None:
        """Record that an item is not processed any more, whatever became of it."""
        _remove(self._mark(index))

    def unfinished(self) -> list[int]:
        """The items that have neither a result nor a problem."""
        return [index for index in range(len(self.card.names)) if self.record(index) is None]

    def give_up_lost(self) -> None:
        """Give a problem to the unfinished items whose upload is not there any more: their records or outputs were damaged."""
        uploaded = {path.name for path in (self.folder / "in").iterdir() if path.is_file()}
        for index in range(len(self.card.names)):
            # the record is read last: the item may be finished just now
            if f"{index:06}" not in uploaded and self.record(index) is None:
                problem = problem_of(ServiceError("result-lost", PROBLEM_TYPES["result-lost"].example))
                self.finish(index, ItemRecord(name=self.card.names[index], problem=problem), None)

    def finish(self, index: int, record: ItemRecord, content: bytes | None) -> None:
        """Store the output of an item, then its record, which marks it as finished; then delete the input.

        Raises:
            FileNotFoundError: the job was deleted.
        """
        if self.record(index) is not None:
            return
        for path in (*self._records(index), self.output(index)):
            _remove(path)  # what is damaged
        out, (done, failed) = self.folder / "out", self._records(index)
        stored = StoredRecord(**dict(record))
        if content is not None:
            stored = stored.model_copy(update={"size": len(content), "crc32": zlib.crc32(content)})
            replace_file(out / f"{index:06}", content, make_folder=False)
        replace_file(failed if content is None else done, stored.model_dump_json(exclude_none=True).encode(), make_folder=False)
        _remove(self.folder / "in" / f"{index:06}")

    def cancel(self) -> None:
        """Colorize no more items; finished ones are kept."""
        (self.folder / "cancelled").touch()

    def delete(self) -> None:
        """Delete the job with its results. It disappears at once, even if deleting its files takes longer."""
        trash = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".trash."))
        try:
            self.folder.rename(trash / "job")
        finally:
            shutil.rmtree(trash, ignore_errors=True)

    @property
    def delivery(self) -> Delivery:
        """The state of the webhook."""
        try:
            return _DELIVERY.validate_json((self.folder / "webhook.json").read_bytes())
        except (OSError, ValidationError):
            return Delivery()

    @delivery.setter
    def delivery(self, delivery: Delivery) -> None:
        path = self.folder / "webhook.json"
        if path.is_dir():
            _remove(path)
        replace_file(path, _DELIVERY.dump_json(delivery), make_folder=False)

    @property
    def size(self) -> int:
        """The bytes of its uploads and outputs."""
        return sum(_size_of(folder, folder.stat().st_mtime_ns) for folder in (self.folder / "in", self.folder / "out"))

    @property
    def deleted(self) -> bool:
        """Whether the job was deleted."""
        return not self.folder.exists()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return (self.folder / "cancelled").exists()

    def status(self, hours: float) -> JobStatus:
        """The progress of the job; its results are kept for `hours` hours after the last one."""
        total = len(self.card.names)
        names = {f"{index:06}{suffix}" for index in range(total) for suffix in _RECORDS}
        records = [path for path in (self.folder / "out").iterdir() if path.name in names]
        finished = {(path.stem, path.suffix) for path in records if is_finished(path)}
        done = sum(suffix == ".done" for _, suffix in finished)
        failed = len({stem for stem, _ in finished}) - done
        complete = done + failed >= total
        state = "finished" if complete else "cancelled" if self.cancelled else "running" if done + failed else "queued"
        expires = None
        if state in ("finished", "cancelled"):
            changed = (self.folder / "out").stat().st_mtime
            if self.cancelled:
                changed = max(changed, (self.folder / "cancelled").stat().st_mtime)
            expires = datetime.fromtimestamp(changed, UTC) + timedelta(hours=hours)
        return JobStatus(
            id=self.card.id, state=state, total=total, done=done, failed=failed, created=self.card.created, expires=expires,
            webhook=self.delivery.outcome if self.card.webhook else None,
        )  # fmt: skip

    def _mark(self, index: int) -> Path:
        return self.output(index).with_suffix(".try")

    def _records(self, index: int) -> tuple[Path, Path]:
        done, failed = (self.output(index).with_suffix(suffix) for suffix in _RECORDS)
        return done, failed


def is_finished(record: Path) -> bool:
    """Whether a file is a readable record, and its output has the size that it says."""
    try:
        found = record.stat()
        output = record.with_suffix("").stat() if record.suffix == ".done" else None
    except OSError:
        return False
    if output is not None and not stat.S_ISREG(output.st_mode):
        return False
    return _is_finished(record, found.st_mtime_ns, found.st_size, output.st_size if output else None)


def _remove(path: Path) -> None:
    """Delete a file, or a folder that is in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@lru_cache(maxsize=20_000)
def _size_of(folder: Path, modified: int) -> int:
    """The bytes of the files of a folder, which changes its date when a file is added or removed."""
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries)


@lru_cache(maxsize=100_000)  # the progress of a job is asked for several times a second
def _is_finished(record: Path, modified: int, size: int, output: int | None) -> bool:
    try:
        stored = StoredRecord.model_validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return False
    if record.suffix == ".failed":
        return stored.problem is not None
    return stored.size in (None, output) and stored.decision is not None and stored.output is not None
