"""Tasks of the queue that deliver the webhooks of jobs that have ended."""

import logging
import threading
from datetime import UTC, datetime

from dbos import DBOS, SetWorkflowID

from app.jobs.folder import JobFolder
from app.jobs.store import JobStore
from app.jobs.tasks import RETRY_DELAY, Interrupted, running
from app.jobs.webhooks import deliver
from app.settings import Settings

WEBHOOKS = "webhooks"  # the queue
AT_ONCE = 4

log = logging.getLogger("chromaroute")


class WebhookTasks:
    """Queues and makes attempts to deliver webhooks.

    Args:
        store: of the jobs.
        settings: of the server.
        stopping: ends the tasks when it is set.
    """

    def __init__(self, store: JobStore, settings: Settings, stopping: threading.Event) -> None:
        self._store, self._settings, self._stopping = store, settings, stopping
        self.running = set[str]()  # ids of tasks that are running

    def register(self) -> None:
        """Register the task, before the queue is launched."""

        @DBOS.workflow(name="webhook", max_recovery_attempts=None)
        def webhook(job_id: str, attempt: int) -> None:
            with running(self.running):
                self._deliver(job_id, attempt)

        self._task = webhook

    def start(self) -> None:
        """Start to process the queue."""
        DBOS.register_queue(WEBHOOKS, worker_concurrency=AT_ONCE, polling_interval_sec=1.0)

    def enqueue(self, job: JobFolder, now: datetime) -> None:
        """Queue the next attempt to deliver the webhook of a job that has ended, if it is due; queued attempts stay as they are."""
        delivery = job.delivery
        if job.card.webhook is None or delivery.outcome != "pending" or not delivery.is_due(now):
            return
        with SetWorkflowID(f"{job.card.id}-{job.card.arrival}-webhook-{delivery.attempts}"):
            DBOS.enqueue_workflow(WEBHOOKS, self._task, job.card.id, delivery.attempts)

    def _deliver(self, job_id: str, attempt: int) -> None:
        """One attempt, in a thread of DBOS; its outcome is stored in the folder of the job."""
        reason: str | None = None
        while not self._stopping.is_set():
            try:
                job = self._store.find(job_id)
                if job is None or job.card.webhook is None or job.delivery.attempts != attempt:
                    return
                now = datetime.now(UTC)
                if reason is None:
                    event_id, status = f"job-{job.card.id}-{job.card.arrival}", job.status(self._settings.job_hours)
                    reason = deliver(job.card.webhook, event_id, status, self._settings, now)
                job.delivery = job.delivery.after(reason, now)
                if reason:
                    log.warning("attempt %d to deliver the webhook of job %s failed: %s", attempt + 1, job_id, reason)
                return
            except FileNotFoundError:  # deleted in the meantime
                return
            except Exception as error:
                log.warning("the webhook of job %s is retried in %d seconds: %r", job_id, RETRY_DELAY, error)
                self._stopping.wait(RETRY_DELAY)
        raise Interrupted
