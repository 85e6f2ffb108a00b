"""The folder of all jobs, to which jobs are added as a whole."""

import asyncio
import errno
import hashlib
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from app.batches.uploads import Item
from app.errors import FULL_DISK, PROBLEM_TYPES, ServiceError, problem_of
from app.jobs.folder import JobCard, JobFolder
from app.schemas import ItemRecord
from models.atomic_files import replace_file
from models.decoders import check_format
from models.errors import ChromarouteError, OptionError

_ID = re.compile("[0-9a-f]{32}")
_LEFTOVER_SECONDS = 86_400

log = logging.getLogger("chromaroute")


class JobStore:
    """The folder of all jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._incoming: Counter[str | None] = Counter()  # bytes by owner, of uploads to this process that are no jobs yet

    def find(self, name: str) -> JobFolder | None:
        """The job with this id; None if it does not exist or cannot be read."""
        if not _ID.fullmatch(name):
            return None
        try:
            return JobFolder(self.folder / name)
        except (OSError, ValidationError, OptionError):  # of an option, in the job of a later version
            return None

    def all(self) -> Iterator[JobFolder]:
        """All jobs; other files in the folder are ignored."""
        for path in sorted(self.folder.iterdir()):
            if (job := self.find(path.name)) is not None:
                yield job

    async def create(self, card: JobCard, items: Sequence[Item], quota: int) -> tuple[JobFolder, bool]:
        """Store the items in a temporary folder, then rename it; an existing job with the same id is kept.

        An item that cannot be read (no picture, too many bytes, a damaged archive) is finished at once, with its problem.

        Args:
            card: of the job; the digest is added.
            items: in their order.
            quota: bytes that all jobs of the owner may hold.

        Returns:
            The job, and whether it is new.

        Raises:
            ServiceError: the existing job is another one (`idempotency-key-reused`), the disk is full (`insufficient-storage`), or
                the quota is used up (`quota-exceeded`).
        """
        held, size = await asyncio.to_thread(self._held_by, card.owner), 0
        temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new."))
        try:
            for name in ("in", "out"):
                (temporary / name).mkdir()
            digest = hashlib.sha256((card.options.model_dump_json() + (card.webhook or "")).encode())
            for index, item in enumerate(items):
                identity, stored = await self._store(temporary, index, item)
                size += stored
                self._incoming[card.owner] += stored
                self._check_quota(held, card.owner, quota)
                await asyncio.to_thread(digest.update, identity)
            # other uploads of the owner may have become jobs meanwhile
            self._check_quota(await asyncio.to_thread(self._held_by, card.owner), card.owner, quota)
            card = card.model_copy(update={"digest": digest.hexdigest()})
            await asyncio.to_thread(replace_file, temporary / "job.json", card.model_dump_json().encode())
            job = await asyncio.to_thread(self._move_into_place, temporary, card)
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            raise ServiceError("insufficient-storage", PROBLEM_TYPES["insufficient-storage"].example) from error
        finally:
            self._incoming[card.owner] -= size
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
        if job.card.digest != card.digest:
            raise ServiceError("idempotency-key-reused", PROBLEM_TYPES["idempotency-key-reused"].example)
        return job, job.card.arrival == card.arrival

    def _check_quota(self, held: int, owner: str | None, quota: int) -> None:
        if held + self._incoming[owner] > quota:
            detail = f"your jobs hold {quota} bytes, which is the limit: delete some, or wait until they have expired."
            raise ServiceError("quota-exceeded", detail)

    def _held_by(self, owner: str | None) -> int:
        """The bytes of all jobs of an owner."""
        held = 0
        for job in self.all():
            if job.card.owner == owner:
                with suppress(FileNotFoundError):  # deleted in the meantime
                    held += job.size
        return held

    def _move_into_place(self, temporary: Path, card: JobCard) -> JobFolder:
        """The job in its final folder, which may have existed before."""
        try:
            temporary.rename(self.folder / card.id)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or self.find(card.id) is None:
                raise
        return JobFolder(self.folder / card.id)

    @staticmethod
    async def _store(folder: Path, index: int, item: Item) -> tuple[bytes, int]:
        """Store an item; returns bytes that identify it, and its size."""
        try:
            content = await item.read()
            check_format(content)  # what is no picture is not stored
        except ChromarouteError as error:
            record = ItemRecord(name=item.name, problem=problem_of(error)).model_dump_json(exclude_none=True).encode()
            await asyncio.to_thread(replace_file, folder / "out" / f"{index:06}.failed", record)
            return item.name.encode() + record, len(record)
        await asyncio.to_thread(replace_file, folder / "in" / f"{index:06}", content)
        return item.name.encode() + hashlib.sha256(content).digest(), len(content)

    def sweep(self, now: datetime, hours: float) -> None:
        """Delete what was left by uploads and deletions that were interrupted a day ago.

        A job whose card cannot be read, because it is damaged or of a later version, is deleted as results are, `hours` hours after
        its last change.
        """
        for path in (*self.folder.glob(".new.*"), *self.folder.glob(".trash.*")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < now.timestamp() - _LEFTOVER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.iterdir():
            if _ID.fullmatch(path.name) and self.find(path.name) is None:
                with suppress(OSError):  # deleted in the meantime
                    changed = max(entry.stat().st_mtime for entry in (path, *path.iterdir()))
                    if changed < now.timestamp() - 3600 * hours:
                        log.warning("job %s is deleted: its card could not be read", path.name)
                        shutil.rmtree(path, ignore_errors=True)
