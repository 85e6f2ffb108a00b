"""Durable background jobs: items are colorized by any free worker, and survive crashes.

DBOS keeps the queue, in SQLite or PostgreSQL; the content and the progress of a job are in its folder (`app.jobs.store`). A task of
the queue is a chunk of consecutive items of a job. A task that was interrupted by a crash runs again and skips the items that have
their record, so that at most the items in progress are colorized twice.
"""

import asyncio
import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, WorkflowStatus
from filelock import BaseFileLock

from app.batches.results import colorize_item
from app.batches.uploads import Item
from app.errors import PROBLEM_TYPES, ServiceError, problem_of
from app.inference.bundles import DEFAULT
from app.inference.engine import Engine
from app.jobs.database import check_connection, is_of_an_existing_task, refuse_pickles, set_aside_if_damaged
from app.jobs.folder import JobCard, JobFolder
from app.jobs.folder_lock import lock_folder
from app.jobs.heartbeats import Heartbeat
from app.jobs.maintenance_thread import PERIOD, MaintenanceThread
from app.jobs.places import Places
from app.jobs.store import JobStore
from app.jobs.tasks import RETRY_DELAY, Interrupted, running
from app.jobs.webhook_tasks import WEBHOOKS, WebhookTasks
from app.schemas import BatchOptions, ItemRecord, JobOptions
from app.settings import Settings, SettingsError
from app.tracing import span, traceparent
from models.atomic_files import check_writable
from models.errors import BundleError, OptionError, PictureError

CHUNK = 8  # items of a task, which should take longer than the polling interval
POLL = 0.25  # seconds between two polls of the queue
ATTEMPTS = 5  # after which such a failure becomes the problem of the item
MAX_ENDED = 3  # how often the server may end while it processes an item; then that is its problem
STOP_SECONDS = 5.0  # that items may take while the server shuts down; then they are processed after the next start
SHUTDOWN = 15.0  # seconds that DBOS may take to shut down
QUEUE = "items"

log = logging.getLogger("chromaroute")


class JobQueue:
    """The jobs of this process, and those that it shares with other replicas.

    Raises:
        SettingsError: the folder cannot be written, the database cannot be reached, or another process uses the folder without a
            common database.
        LocksUnsupported: there are no file locks.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self._heartbeat: Heartbeat | None = None
        self._lock: BaseFileLock | None = None
        if settings.database:
            check_connection(settings.database)
        try:
            self.store = JobStore(settings.data_dir / "jobs")
            check_writable(self.store.folder)
            if settings.database:
                self._heartbeat = Heartbeat(settings.data_dir, settings.replica)
            else:
                self._lock = lock_folder(settings.data_dir)
                set_aside_if_damaged(self._database_file)
        except OSError as error:
            raise SettingsError(
                f"jobs cannot be stored in {settings.data_dir} ({error}): allow this user to write there, set another folder with "
                "CHROMAROUTE_DATA_DIR, or turn jobs off with CHROMAROUTE_JOBS=0."
            ) from error
        self._stopping = threading.Event()
        self._places = Places(engine.slots + 1)
        self._running = set[str]()  # ids of tasks of items that are running in threads of DBOS
        self._idle = set[str]()  # of tasks that were not, at the last run of the periodic task, although the database says so
        self._webhooks = WebhookTasks(self.store, settings, self._stopping)
        self._items: set[asyncio.Task[None]] = set()  # that are being colorized
        self._backlog = 0  # unfinished items, at the last run of the periodic task
        self._worker = MaintenanceThread(lambda: self.clean_up(datetime.now(UTC)), self._stopping)

    async def start(self) -> None:
        """Start to process the queue."""
        self._loop = asyncio.get_running_loop()
        if self._heartbeat is not None:
            self._heartbeat.beat()
            self._beating = asyncio.create_task(self._beat(self._heartbeat))
        await asyncio.to_thread(self._launch)
        self._worker.submit(self._enqueue_all)
        self._worker.start()

    async def stop(self) -> None:
        """Stop, and leave unfinished items to the next process or to other replicas."""
        self._stopping.set()
        # an item of many pages would take longer than a process gets to end
        timer = asyncio.get_running_loop().call_later(STOP_SECONDS, lambda: [task.cancel() for task in self._items])
        while self._running:
            await asyncio.sleep(0.02)
        timer.cancel()
        shutdown = threading.Thread(target=DBOS.destroy, kwargs={"destroy_registry": True}, daemon=True)
        shutdown.start()  # it may hang if the database cannot be reached
        await asyncio.to_thread(shutdown.join, SHUTDOWN)
        if self._heartbeat is not None:
            self._beating.cancel()
            self._heartbeat.retire()
        if self._lock is not None:
            self._lock.release()

    async def add(
        self, items: Sequence[Item], options: JobOptions, owner: str | None, bundle: str, idempotency_key: str | None
    ) -> JobFolder:
        """Store a job and queue it, for the bundle of that name. The same idempotency key of the same owner returns the same job.

        Raises:
            ServiceError: as `JobStore.create`, or the backlog is too long (`overloaded`).
        """
        if self._backlog + len(items) > self.settings.max_backlog:
            limit = self.settings.max_backlog
            detail = f"{self._backlog} items of jobs are not finished, and the limit is {limit}: try again in a minute."
            raise ServiceError("overloaded", detail, retry_after=60)
        job_id = hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).hexdigest()[:32] if idempotency_key else uuid.uuid4().hex
        card = JobCard(
            id=job_id, arrival=uuid.uuid4().hex[:8], created=datetime.now(UTC), owner=owner, bundle=bundle, webhook=options.webhook,
            options=BatchOptions(**options.model_dump(exclude={"webhook"})),
            names=[item.name for item in items], paths=[item.path for item in items], traceparent=traceparent(),
        )  # fmt: skip
        job, is_new = await self.store.create(card, items, self.settings.quota_bytes)
        self._worker.submit(lambda: self._enqueue(job))
        if is_new:
            self._backlog += len(items)
            log.info("job %s has %d items", job_id, len(items))
        return job

    def delete(self, job: JobFolder) -> None:
        """Delete a job with its results, and its tasks."""
        job.delete()
        self._worker.submit(lambda: self._delete_tasks(job.card.id))

    def find(self, job_id: str, owner: str | None) -> JobFolder | None:
        """A job of this owner."""
        job = self.store.find(job_id)
        return job if job is not None and job.card.owner == owner else None

    def clean_up(self, now: datetime) -> None:
        """Delete expired jobs, measure the backlog, and take over the tasks of lost replicas. Runs every few seconds."""
        backlog, end = 0, time.monotonic() + PERIOD
        for job in self.store.all():
            try:
                status = job.status(self.settings.job_hours)
                if status.expires is None:
                    backlog += status.total - status.done - status.failed
                    self._enqueue_again(job)
                elif status.expires < now:
                    if time.monotonic() > end:  # many have expired at once, and new jobs wait to be queued
                        continue
                    job.delete()
                    self._delete_tasks(job.card.id)
                else:
                    self._webhooks.enqueue(job, now)
            except FileNotFoundError:  # deleted in the meantime
                continue
            except OSError as error:
                log.warning("job %s cannot be checked: %r", job.card.id, error)
        self.store.sweep(now, self.settings.job_hours)
        self._backlog = backlog
        self.engine.metrics.job_backlog.set(backlog)
        if self._heartbeat is not None:
            self._resume_unconfirmed()
            self._heartbeat.take_over(self._adopt)

    @property
    def _database_file(self) -> Path:
        return self.settings.data_dir.absolute() / "jobs.sqlite"

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": "chromaroute",
            "system_database_url": self.settings.database or f"sqlite:///{self._database_file}",
            "application_version": "1",  # of the arguments of tasks: a new release continues the tasks of the last one
            "executor_id": self.settings.replica if self.settings.database else "local",
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
        refuse_pickles()
        logging.getLogger("dbos").addFilter(is_of_an_existing_task)
        DBOS(config=config)

        @DBOS.workflow(name="colorize", max_recovery_attempts=None)
        def colorize(job_id: str, first: int) -> None:
            with running(self._running):
                self._colorize_chunk(job_id, first)

        self._task = colorize
        self._webhooks.register()
        DBOS.launch()
        self._webhooks.start()
        DBOS.register_queue(QUEUE, worker_concurrency=self._places.count, polling_interval_sec=POLL)

    def _enqueue_all(self) -> None:
        """Queue the tasks of all jobs: a crash may have happened between storing a job and queueing its tasks."""
        for job in self.store.all():
            self._enqueue(job)

    def _enqueue(self, job: JobFolder) -> None:
        """Queue the tasks of an unfinished job; tasks that are queued already stay as they are."""
        with suppress(FileNotFoundError):  # deleted in the meantime
            if job.status(self.settings.job_hours).expires is not None:
                return
            for first in range(0, len(job.card.names), CHUNK):
                with SetWorkflowID(f"{job.card.id}-{job.card.arrival}-{first}"):
                    DBOS.enqueue_workflow(QUEUE, self._task, job.card.id, first)

    def _enqueue_again(self, job: JobFolder) -> None:
        """Queue the items that are not finished although the tasks of the job have ended, as after damage on the disk."""
        job.give_up_lost()
        prefix = f"{job.card.id}-{job.card.arrival}-"
        if DBOS.list_workflows(workflow_id_prefix=prefix, status=["ENQUEUED", "PENDING"], limit=1):
            return
        ended = len(DBOS.list_workflows(workflow_id_prefix=prefix, load_input=False, load_output=False))
        unfinished = job.unfinished() if ended else []  # without tasks, the job has just been stored
        for first in sorted({index - index % CHUNK for index in unfinished}):
            with SetWorkflowID(f"{prefix}{first}-{ended}"):
                DBOS.enqueue_workflow(QUEUE, self._task, job.card.id, first)
        if unfinished:
            log.warning("items %s of job %s were left unfinished, and are processed again", unfinished, job.card.id)

    def _delete_tasks(self, job_id: str) -> None:
        tasks = DBOS.list_workflows(workflow_id_prefix=f"{job_id}-")
        DBOS.delete_workflows([task.workflow_id for task in tasks])

    def _colorize_chunk(self, job_id: str, first: int) -> None:
        """A task, in a thread of DBOS. It returns when all its items have their records, and retries all other failures."""
        for index in range(first, first + CHUNK):
            for attempt in count(1):
                if self._stopping.is_set():
                    raise Interrupted
                try:
                    job = self.store.find(job_id)
                    if job is None or job.cancelled or index >= len(job.card.names):
                        return
                    if job.record(index) is None:
                        work = self._cancellable(self._colorize(job, index, is_last_attempt=attempt >= ATTEMPTS))
                        asyncio.run_coroutine_threadsafe(work, self._loop).result()
                    break
                except Exception as error:
                    log.warning("item %d of job %s is retried in %d seconds: %r", index, job_id, RETRY_DELAY, error)
                    self._stopping.wait(RETRY_DELAY)

    async def _cancellable(self, work: Coroutine[object, object, None]) -> None:
        """Do work that `stop` may cancel."""
        task = asyncio.create_task(work)
        self._items.add(task)
        try:
            await task
        finally:
            self._items.discard(task)

    async def _colorize(self, job: JobFolder, index: int, is_last_attempt: bool) -> None:
        """Colorize an item. Errors of the picture are its problem; other errors become one at the last attempt.

        An item that was in progress when the server ended is processed alone, so that it is known which picture ends the server.
        """

        async def read() -> bytes:
            return await asyncio.to_thread(job.read_input, index)

        of_key = (BundleError,) if job.card.bundle != DEFAULT else ()  # jobs of other keys must not wait until it is mended
        errors = (Exception,) if is_last_attempt else (PictureError, OptionError, *of_key)
        item = job.card.item(index, read)
        async with self._places.one() if not job.ended(index) else self._places.all():
            ended = await asyncio.to_thread(job.begin, index)
            try:
                if ended < MAX_ENDED:
                    with span("job item", job.card.traceparent, item=index):
                        record, content = await colorize_item(self.engine, item, job.card.options, job.card.bundle, errors)
                else:
                    log.error("item %d of job %s is given up: the server ended %d times meanwhile", index, job.card.id, ended)
                    problem = problem_of(ServiceError("server-ended", PROBLEM_TYPES["server-ended"].example))
                    record, content = ItemRecord(name=item.name, problem=problem), None
                await asyncio.to_thread(job.finish, index, record, content)
            finally:
                await asyncio.to_thread(job.end, index)
        self.engine.metrics.job_items.labels("failed" if content is None else "done").inc()

    async def _beat(self, heartbeat: Heartbeat) -> None:
        while True:
            await asyncio.to_thread(heartbeat.beat)
            await asyncio.sleep(PERIOD)

    def _resume_unconfirmed(self) -> None:
        """Queue the tasks again that this process has claimed without knowing: the connection was lost before it was confirmed."""
        claimed = DBOS.list_workflows(status="PENDING", executor_id=self.settings.replica, load_input=False, load_output=False)
        idle = [task for task in claimed if task.workflow_id not in self._running | self._webhooks.running]
        self._resume([task for task in idle if task.workflow_id in self._idle])  # others may be about to run
        self._idle = {task.workflow_id for task in idle}

    def _adopt(self, replica: str) -> None:
        pending = DBOS.list_workflows(status="PENDING", executor_id=replica)
        if pending:
            log.warning("%d tasks of the lost replica %s are queued again", len(pending), replica)
        self._resume(pending)
        self._enqueue_all()  # it may have been lost before it had queued the tasks of a job

    def _resume(self, tasks: Sequence[WorkflowStatus]) -> None:
        for queue in (QUEUE, WEBHOOKS):
            if names := [task.workflow_id for task in tasks if task.queue_name == queue]:
                DBOS.resume_workflows(names, queue_name=queue)
