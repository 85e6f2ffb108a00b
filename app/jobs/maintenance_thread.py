"""A thread for the bookkeeping of the queue: it retries submitted tasks that fail, and runs the periodic clean-up."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from app.jobs.tasks import RETRY_DELAY

PERIOD = 5.0  # seconds between two runs of the periodic task
IDLE_SHARE = 9  # how many times longer than a run the time to the next one is, at least: with many jobs, a run takes seconds

log = logging.getLogger("chromaroute")


class MaintenanceThread:
    """Runs submitted tasks one at a time, retries those that fail, and runs a periodic task in between.

    Args:
        periodic: the task that is run every `PERIOD` seconds, or more rarely if it takes long.
        stopping: ends the thread when it is set.
    """

    def __init__(self, periodic: Callable[[], None], stopping: threading.Event) -> None:
        self._periodic, self._stopping = periodic, stopping
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def start(self) -> None:
        """Start the thread. It is a daemon: the process does not wait for a task at exit."""
        threading.Thread(target=self._run, name="maintenance", daemon=True).start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                task = self._tasks.get(timeout=max(0.01, due - time.monotonic()))
                if not _succeeds(task):
                    self._tasks.put(task)
                    self._stopping.wait(RETRY_DELAY)
            if time.monotonic() >= due and not self._stopping.is_set():
                start = time.thread_time()  # without the time for which it waits for a database that cannot be reached
                _succeeds(self._periodic)
                due = time.monotonic() + max(PERIOD, IDLE_SHARE * (time.thread_time() - start))


def _succeeds(task: Callable[[], None]) -> bool:
    try:
        task()
    except Exception:
        log.exception("a background task of the jobs failed, and is retried in a few seconds")
        return False
    return True
