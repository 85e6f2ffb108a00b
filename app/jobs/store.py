"""Jobs on the disk: a folder for each, in which every file is either complete or absent.

    jobs/ID/job.json          names and options; the folder appears when the upload is complete
    jobs/ID/in/000000         uploaded items
    jobs/ID/out/000000        outputs
    jobs/ID/out/000000.done   records; .failed for an item that has a problem instead of an output
    jobs/ID/cancelled         exists once the job was cancelled
    jobs/ID/webhook.json      the state of its webhook

There is no other state: any process that can read the folder can report on a job and continue it.
"""

import asyncio
import errno
import hashlib
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.batches.uploads import Item
from app.errors import PROBLEM_TYPES, ServiceError, problem_of
from app.inference.engine import Read
from app.jobs.webhooks import Delivery
from app.schemas import ItemRecord, JobStatus
from models.atomic_files import replace_file
from models.errors import ChromarouteError
from models.options import Options

_ID = re.compile("[0-9a-f]{32}")
_LEFTOVER_SECONDS = 86_400
_DELIVERY = TypeAdapter(Delivery)


class JobCard(BaseModel):
    """The content of `job.json`. `owner` is the name of the API key; `digest` identifies items and options.

    `arrival` differs each time: a job that was deleted and sent again under the same `id` has other tasks in the queue.
    """

    id: str
    arrival: str
    created: datetime
    owner: str | None
    digest: str = ""
    options: Options
    webhook: str | None = None
    names: list[str]
    paths: list[str] = []  # empty in jobs of earlier versions, whose names are safe paths

    def item(self, index: int, read: Read) -> Item:
        """An item of the job; `read` returns its upload."""
        return Item(self.names[index], (self.paths or self.names)[index], read)


class StoredRecord(ItemRecord):
    """The record of an item, with size and CRC-32 of its output."""

    size: int | None = None
    crc32: int | None = None


class JobFolder:
    """A job whose upload is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = JobCard.model_validate_json((folder / "job.json").read_bytes())

    def read_input(self, index: int) -> bytes:
        """An uploaded item."""
        return (self.folder / "in" / f"{index:06}").read_bytes()

    def output(self, index: int) -> Path:
        """The file of the output of an item."""
        return self.folder / "out" / f"{index:06}"

    def record(self, index: int) -> StoredRecord | None:
        """The record of an item; None if it is not finished."""
        for path in self._records(index):
            with suppress(FileNotFoundError, ValidationError):
                return StoredRecord.model_validate_json(path.read_bytes())
        return None

    def finish(self, index: int, record: ItemRecord, content: bytes | None) -> None:
        """Store the output of an item, then its record, which marks it as finished; then delete the input.

        Raises:
            FileNotFoundError: the job was deleted.
        """
        if self.record(index) is not None:
            return
        out, (done, failed) = self.folder / "out", self._records(index)
        stored = StoredRecord(**dict(record))
        if content is not None:
            stored = stored.model_copy(update={"size": len(content), "crc32": zlib.crc32(content)})
            replace_file(out / f"{index:06}", content, make_folder=False)
        replace_file(failed if content is None else done, stored.model_dump_json(exclude_none=True).encode(), make_folder=False)
        (self.folder / "in" / f"{index:06}").unlink(missing_ok=True)

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
        except (FileNotFoundError, ValidationError):
            return Delivery()

    @delivery.setter
    def delivery(self, delivery: Delivery) -> None:
        replace_file(self.folder / "webhook.json", _DELIVERY.dump_json(delivery), make_folder=False)

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
        records = [path for path in (self.folder / "out").iterdir() if not path.name.startswith(".")]
        finished = {path.stem for path in records if path.suffix == ".done"}
        done, total = len(finished), len(self.card.names)
        failed = len({path.stem for path in records if path.suffix == ".failed"} - finished)
        complete = done + failed >= total
        state = "finished" if complete else "cancelled" if self.cancelled else "running" if done + failed else "queued"
        expires = None
        if state in ("finished", "cancelled"):
            ends = [path for path in (self.folder / "out", self.folder / "cancelled") if path.exists()]
            changed = max(path.stat().st_mtime for path in ends)
            expires = datetime.fromtimestamp(changed, UTC) + timedelta(hours=hours)
        return JobStatus(
            id=self.card.id, state=state, total=total, done=done, failed=failed, created=self.card.created, expires=expires,
            webhook=self.delivery.outcome if self.card.webhook else None,
        )  # fmt: skip

    def _records(self, index: int) -> tuple[Path, Path]:
        stem = self.folder / "out" / f"{index:06}"
        return stem.with_suffix(".done"), stem.with_suffix(".failed")


class JobStore:
    """The folder of all jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, name: str) -> JobFolder | None:
        """The job with this id; None if it does not exist or cannot be read."""
        if not _ID.fullmatch(name):
            return None
        try:
            return JobFolder(self.folder / name)
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def all(self) -> Iterator[JobFolder]:
        """All jobs; other files in the folder are ignored."""
        for path in sorted(self.folder.iterdir()):
            if (job := self.find(path.name)) is not None:
                yield job

    async def create(self, card: JobCard, items: Sequence[Item]) -> tuple[JobFolder, bool]:
        """Store the items in a temporary folder, then rename it; an existing job with the same id is kept.

        An item that cannot be read (too many bytes, a damaged archive) is finished at once, with its problem.

        Returns:
            The job, and whether it is new.

        Raises:
            ServiceError: the existing job is another one (`idempotency-key-reused`), or the disk is full (`insufficient-storage`).
        """
        temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new."))
        try:
            for name in ("in", "out"):
                (temporary / name).mkdir()
            digest = hashlib.sha256((card.options.model_dump_json() + (card.webhook or "")).encode())
            for index, item in enumerate(items):
                await asyncio.to_thread(digest.update, await self._store(temporary, index, item))
            card = card.model_copy(update={"digest": digest.hexdigest()})
            await asyncio.to_thread(replace_file, temporary / "job.json", card.model_dump_json().encode())
            job = await asyncio.to_thread(self._move_into_place, temporary, card)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ServiceError("insufficient-storage", PROBLEM_TYPES["insufficient-storage"].example) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
        if job.card.digest != card.digest:
            raise ServiceError("idempotency-key-reused", PROBLEM_TYPES["idempotency-key-reused"].example)
        return job, job.card.arrival == card.arrival

    def _move_into_place(self, temporary: Path, card: JobCard) -> JobFolder:
        """The job in its final folder, which may have existed before."""
        try:
            temporary.rename(self.folder / card.id)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or self.find(card.id) is None:
                raise
        return JobFolder(self.folder / card.id)

    @staticmethod
    async def _store(folder: Path, index: int, item: Item) -> bytes:
        """Store an item; returns bytes that identify it."""
        try:
            content = await item.read()
        except ChromarouteError as error:
            record = ItemRecord(name=item.name, problem=problem_of(error)).model_dump_json(exclude_none=True).encode()
            await asyncio.to_thread(replace_file, folder / "out" / f"{index:06}.failed", record)
            return item.name.encode() + record
        await asyncio.to_thread(replace_file, folder / "in" / f"{index:06}", content)
        return item.name.encode() + hashlib.sha256(content).digest()

    def sweep(self, now: datetime) -> None:
        """Delete what was left by uploads and deletions that were interrupted a day ago."""
        for path in (*self.folder.glob(".new.*"), *self.folder.glob(".trash.*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < now.timestamp() - _LEFTOVER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
