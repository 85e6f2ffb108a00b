"""A job on the disk: what was sent, what was painted, how far it is. A folder each; every file in it is whole or absent.

    jobs/ID/job.json          the names and options; the folder appears when all of it has arrived
    jobs/ID/in/000000         pictures as they were sent
    jobs/ID/out/000000        answers
    jobs/ID/out/000000.done   their records; .failed where there is a problem instead of an answer
    jobs/ID/cancelled         is there once the job was cancelled

Nothing else is remembered, so any process that has the folder can tell, and go on with, any job.
"""

import asyncio
import errno
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ValidationError

from app.errors import KINDS, ServiceError, described
from app.parcels import Item
from app.schemas import ColorizeQuery, JobStatus, PictureRecord
from models.errors import ChromarouteError
from models.files import replace_file

_ID = re.compile("[0-9a-f]{32}")


class JobCard(BaseModel):
    """What a job is: `job.json`. `owner` is the name of the key that sent it; `digest` tells what was sent, and how to paint it.

    `arrival` is new each time: a job that was removed and sent again under the same `id` has other tasks.
    """

    id: str
    arrival: str
    created: datetime
    owner: str | None
    digest: str = ""
    query: ColorizeQuery
    names: list[str]


class JobFolder:
    """A job that has arrived."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = JobCard.model_validate_json((folder / "job.json").read_bytes())

    def sent(self, index: int) -> bytes:
        """A picture as it was sent."""
        return (self.folder / "in" / f"{index:06}").read_bytes()

    def painted(self, index: int) -> bytes:
        """An answer."""
        return (self.folder / "out" / f"{index:06}").read_bytes()

    def record(self, index: int) -> PictureRecord | None:
        """The record of a picture, once it is finished."""
        for path in self._records(index):
            with suppress(FileNotFoundError, ValidationError):
                return PictureRecord.model_validate_json(path.read_bytes())
        return None

    def finish(self, index: int, record: PictureRecord, content: bytes | None) -> None:
        """Store an answer and then its record, which makes it count; what was sent is not needed any more.

        Raises:
            FileNotFoundError: the job was removed.
        """
        if self.record(index) is not None:
            return
        out, (done, failed) = self.folder / "out", self._records(index)
        if content is not None:
            replace_file(out / f"{index:06}", content, make_folder=False)
        replace_file(failed if content is None else done, record.model_dump_json(exclude_none=True).encode(), make_folder=False)
        (self.folder / "in" / f"{index:06}").unlink(missing_ok=True)

    def cancel(self) -> None:
        """Paint no more of it; what is painted stays."""
        (self.folder / "cancelled").touch()

    def remove(self) -> None:
        """Remove it with its results; it is gone at once, whatever takes longer."""
        gone = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".gone."))
        try:
            self.folder.rename(gone / "job")
        finally:
            shutil.rmtree(gone, ignore_errors=True)

    @property
    def removed(self) -> bool:
        """Whether it is there no more."""
        return not self.folder.exists()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return (self.folder / "cancelled").exists()

    def status(self, hours: float) -> JobStatus:
        """How far it is; results are kept for so many hours after the last one."""
        records = [path for path in (self.folder / "out").iterdir() if not path.name.startswith(".")]
        finished = {path.stem for path in records if path.suffix == ".done"}
        done, total = len(finished), len(self.card.names)
        failed = len({path.stem for path in records if path.suffix == ".failed"} - finished)
        over = done + failed >= total
        state = "finished" if over else "cancelled" if self.cancelled else "running" if done + failed else "queued"
        expires = None
        if state in ("finished", "cancelled"):
            changed = max((self.folder / name).stat().st_mtime for name in ("out", "."))
            expires = datetime.fromtimestamp(changed, UTC) + timedelta(hours=hours)
        return JobStatus(
            id=self.card.id, state=state, total=total, done=done, failed=failed, created=self.card.created, expires=expires
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
        """A job by its id; None if there is none, or one that cannot be read."""
        if not _ID.fullmatch(name):
            return None
        try:
            return JobFolder(self.folder / name)
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def all(self) -> Iterator[JobFolder]:
        """Every job that has arrived; what else lies there is left alone."""
        for path in sorted(self.folder.iterdir()):
            if (job := self.find(path.name)) is not None:
                yield job

    async def arrive(self, card: JobCard, items: Sequence[Item]) -> tuple[JobFolder, bool]:
        """Store what was sent aside, then put it in place; where the job is already, that one stays. Says whether it is new.

        A picture that cannot be read (too many bytes, a damaged archive) is finished at once, with its problem.

        Raises:
            ServiceError: the job is there already, and is another one (`idempotency-key-reused`); or the disk is full (`no-room`).
        """
        aside = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new."))
        try:
            for name in ("in", "out"):
                (aside / name).mkdir()
            digest = hashlib.sha256(card.query.model_dump_json().encode())
            for index, item in enumerate(items):
                await asyncio.to_thread(digest.update, await self._store(aside, index, item))
            card = card.model_copy(update={"digest": digest.hexdigest()})
            await asyncio.to_thread(replace_file, aside / "job.json", card.model_dump_json().encode())
            there = await asyncio.to_thread(self._place, aside, card)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ServiceError("no-room", KINDS["no-room"].example) from error
        finally:
            await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)
        if there.card.digest != card.digest:
            detail = "the Idempotency-Key was sent before with other pictures or options: take a new one."
            raise ServiceError("idempotency-key-reused", detail)
        return there, there.card.arrival == card.arrival

    def _place(self, aside: Path, card: JobCard) -> JobFolder:
        """Put a job in place, or find the one that is there."""
        try:
            aside.rename(self.folder / card.id)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or self.find(card.id) is None:
                raise
        return JobFolder(self.folder / card.id)

    @staticmethod
    async def _store(aside: Path, index: int, item: Item) -> bytes:
        """Store a picture of a job that is arriving; returns what tells it from others."""
        try:
            content = await item.read()
        except ChromarouteError as error:
            record = PictureRecord(name=item.name, problem=described(error)).model_dump_json(exclude_none=True).encode()
            await asyncio.to_thread(replace_file, aside / "out" / f"{index:06}.failed", record)
            return item.name.encode() + record
        await asyncio.to_thread(replace_file, aside / "in" / f"{index:06}", content)
        return item.name.encode() + hashlib.sha256(content).digest()

    def sweep(self, now: datetime) -> None:
        """Remove what never arrived, or was not removed to its end, a day ago."""
        for path in (*self.folder.glob(".new.*"), *self.folder.glob(".gone.*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < now.timestamp() - 86_400:
                    shutil.rmtree(path, ignore_errors=True)
