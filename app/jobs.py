"""Jobs: parcels that are painted in the background, by whichever process is free, through any crash.

The queue is DBOS's, in SQLite or PostgreSQL; what a job is and how far it is lies in its folder (`app.job_folder`). A task of the
queue is a few neighbouring pictures of a job. A task that a crash cut off runs again and passes over the pictures that have their
record, so that at most those in hand are painted twice.
"""

import asyncio
import fcntl
import hashlib
import logging
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import IO

import psycopg
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from app.batch import painted
from app.engine import Engine
from app.errands import TIDY, Errands
from app.errors import ServiceError
from app.job_folder import JobCard, JobFolder, JobStore
from app.parcels import Item
from app.replicas import Replica
from app.schemas import ColorizeQuery
from app.settings import Settings, SettingsError
from models.errors import OptionError, PictureError

PICTURES = 8  # of a task; the queue is asked a few times a second, and a task should outlast that
POLL = 0.25  # seconds between two looks into the queue
RETRY = 5  # seconds until a picture is tried again that failed for no reason of its own
ATTEMPTS = 5  # after which that is its problem
ENDING = 15.0  # seconds that DBOS may take to end
QUEUE = "pictures"

log = logging.getLogger("chromaroute")


class _Stopped(BaseException):
    """Ends a task as a crash would: as it is no Exception, DBOS stores no outcome, and the task runs again elsewhere or later."""


class Jobs:
    """The jobs of this process, and those that it shares with other replicas.

    Raises:
        SettingsError: the folder cannot be written, the database cannot be reached, or another process works with the folder and
            they have no common database.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        try:
            self.store = JobStore(settings.data_dir / "jobs")
        except OSError as error:
            raise SettingsError(
                f"jobs cannot be kept in {settings.data_dir} ({error}): let this user write there, name another folder by "
                "CHROMAROUTE_DATA_DIR, or offer none by CHROMAROUTE_JOBS=0."
            ) from error
        self._replica, self._lock = None, None
        if settings.database:
            _reach(settings.database)
            self._replica = Replica(settings.data_dir, settings.replica)
        else:
            self._lock = self._locked()
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._active = 0  # tasks in their threads
        self._backlog = 0  # pictures, a few seconds ago
        self._errands = Errands(lambda: self.tidy(datetime.now(UTC)), self._stopping)

    async def start(self) -> None:
        """Begin to work on what is queued."""
        self._loop = asyncio.get_running_loop()
        if self._replica is not None:
            self._replica.live()
            self._living = asyncio.create_task(self._live(self._replica))
        await asyncio.to_thread(self._launch)
        self._errands.run(self._enqueue_all)
        self._errands.start()

    async def stop(self) -> None:
        """Leave what is not finished to the next process, or to the other replicas."""
        self._stopping.set()
        while self._active:
            await asyncio.sleep(0.02)
        ending = threading.Thread(target=DBOS.destroy, kwargs={"destroy_registry": True}, daemon=True)
        ending.start()  # it may hang on a database that is away
        await asyncio.to_thread(ending.join, ENDING)
        if self._replica is not None:
            self._living.cancel()
            self._replica.leave()
        if self._lock is not None:
            self._lock.close()

    async def add(self, items: Sequence[Item], query: ColorizeQuery, owner: str | None, key: str | None) -> JobFolder:
        """Take a job. The same key of the same owner is the same job.

        Raises:
            ServiceError: that key came with other pictures or options, there is no room, or too much is unfinished (`busy`).
        """
        if self._backlog + len(items) > self.settings.max_backlog:
            most = self.settings.max_backlog
            detail = f"{self._backlog} pictures of jobs are not finished, and the limit is {most}: try again in a minute."
            raise ServiceError("busy", detail, retry_after=60)
        name = hashlib.sha256(f"{owner}\n{key}".encode()).hexdigest()[:32] if key else uuid.uuid4().hex
        names = [item.name for item in items]
        card = JobCard(id=name, arrival=uuid.uuid4().hex[:8], created=datetime.now(UTC), owner=owner, query=query, names=names)
        job, fresh = await self.store.arrive(card, items)
        self._errands.run(lambda: self._enqueue(job))
        if fresh:
            self._backlog += len(items)
            log.info("job %s has %d pictures", name, len(items))
        return job

    def remove(self, job: JobFolder) -> None:
        """Remove a job with its results, and its tasks from the queue."""
        job.remove()
        self._errands.run(lambda: self._forget(job.card.id))

    def find(self, name: str, owner: str | None) -> JobFolder | None:
        """A job of this owner."""
        job = self.store.find(name)
        return job if job is not None and job.card.owner == owner else None

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": "chromaroute",
            "system_database_url": self.settings.database or f"sqlite:///{self.settings.data_dir.absolute() / 'jobs.sqlite'}",
            "application_version": "1",  # of the tasks' arguments: a new release goes on with the tasks of the last
            "executor_id": self.settings.replica if self.settings.database else "local",
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
        DBOS(config=config)

        @DBOS.workflow(name="paint", max_recovery_attempts=None)
        def paint(name: str, first: int) -> None:
            with self._counting:
                self._active += 1
            try:
                self._paint(name, first)
            finally:
                with self._counting:
                    self._active -= 1

        self._task = paint
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=self.engine.places + 1, polling_interval_sec=POLL)

    def _enqueue_all(self) -> None:
        """A crash may have come between the arrival of a job and its tasks."""
        for job in self.store.all():
            self._enqueue(job)

    def _enqueue(self, job: JobFolder) -> None:
        """Queue the tasks of a job that is not over; those that were queued before stay what they are."""
        with suppress(FileNotFoundError):  # removed in this moment
            if job.status(self.settings.job_hours).expires is not None:
                return
            for first in range(0, len(job.card.names), PICTURES):
                with SetWorkflowID(f"{job.card.id}-{job.card.arrival}-{first}"):
                    DBOS.enqueue_workflow(QUEUE, self._task, job.card.id, first)

    def _forget(self, name: str) -> None:
        DBOS.delete_workflows([flow.workflow_id for flow in DBOS.list_workflows(workflow_id_prefix=f"{name}-")])

    def _paint(self, name: str, first: int) -> None:
        """A task, in a thread of DBOS's. It ends when its pictures have their records, whatever goes wrong on the way."""
        for index in range(first, first + PICTURES):
            for attempt in count(1):
                if self._stopping.is_set():
                    raise _Stopped
                try:
                    job = self.store.find(name)
                    if job is None or job.cancelled or index >= len(job.card.names):
                        return
                    if job.record(index) is None:
                        work = self._colour(job, index, attempt >= ATTEMPTS)
                        asyncio.run_coroutine_threadsafe(work, self._loop).result()
                    break
                except Exception as error:
                    log.warning("picture %d of job %s is tried again in %d seconds: %r", index, name, RETRY, error)
                    self._stopping.wait(RETRY)

    async def _colour(self, job: JobFolder, index: int, last: bool) -> None:
        """Paint a picture. What is wrong with itself is its problem; what is not becomes one at the last attempt."""

        async def read() -> bytes:
            return await asyncio.to_thread(job.sent, index)

        item, own = Item(job.card.names[index], read), (Exception,) if last else (PictureError, OptionError)
        record, content = await painted(self.engine, item, job.card.query.options(), own)
        await asyncio.to_thread(job.finish, index, record, content)
        self.engine.metrics.job_pictures.labels("failed" if content is None else "done").inc()

    async def _live(self, replica: Replica) -> None:
        while True:
            await asyncio.to_thread(replica.live)
            await asyncio.sleep(TIDY)

    def tidy(self, now: datetime) -> None:
        """Remove the results that have expired, and take over from replicas that give no sign of life."""
        waiting = 0
        for job in self.store.all():
            with suppress(FileNotFoundError):  # removed in this moment
                status = job.status(self.settings.job_hours)
                if status.expires is None:
                    waiting += status.total - status.done - status.failed
                elif status.expires < now:
                    job.remove()
                    self._forget(job.card.id)
        self.store.sweep(now)
        self._backlog = waiting
        self.engine.metrics.job_backlog.set(waiting)
        if self._replica is not None:
            self._replica.take_over(self._adopt)

    def _adopt(self, replica: str) -> None:
        left = [flow.workflow_id for flow in DBOS.list_workflows(status="PENDING", executor_id=replica)]
        if left:
            log.warning("%d tasks of the lost replica %s are queued again", len(left), replica)
            DBOS.resume_workflows(left, queue_name=QUEUE)
        self._enqueue_all()  # it may have been lost before it had queued what had arrived

    def _locked(self) -> IO[bytes]:
        """Hold the folder: SQLite's queue is this process's own."""
        file = (self.settings.data_dir / "jobs.lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise SettingsError(
                f"another server works with the jobs in {self.settings.data_dir}: give this one another CHROMAROUTE_DATA_DIR, "
                "let it offer none by CHROMAROUTE_JOBS=0, or let them share CHROMAROUTE_DATABASE=postgresql://..."
            ) from error
        return file


def _reach(database: str) -> None:
    """Raise a SettingsError unless the database answers."""
    try:
        psycopg.connect(database, connect_timeout=10).close()
    except psycopg.Error as error:
        reason = str(error).strip()
        raise SettingsError(f"CHROMAROUTE_DATABASE cannot be reached: {reason}. Start it, or correct the URL.") from error
