"""Work that may have to wait for a database that is away: in a thread of its own, so that nothing else waits with it."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

TIDY = 5.0  # seconds between two rounds
RETRY = 5.0  # seconds until an errand that failed is run again

log = logging.getLogger("chromaroute")


class Errands:
    """Runs errands one after the other, again if they fail, and a round every few seconds in between.

    Args:
        round: what is done again and again.
        stopping: ends the thread.
    """

    def __init__(self, round: Callable[[], None], stopping: threading.Event) -> None:
        self._round, self._stopping = round, stopping
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, errand: Callable[[], None]) -> None:
        """Have an errand run, soon."""
        self._waiting.put(errand)

    def start(self) -> None:
        """Begin; a process that ends does not wait for an errand that waits."""
        threading.Thread(target=self._keep, name="errands", daemon=True).start()

    def _keep(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            with suppress(queue.Empty):
                errand = self._waiting.get(timeout=max(0.01, due - time.monotonic()))
                if not _went_well(errand):
                    self._waiting.put(errand)
                    self._stopping.wait(RETRY)
            if time.monotonic() >= due:
                _went_well(self._round)
                due = time.monotonic() + TIDY


def _went_well(errand: Callable[[], None]) -> bool:
    try:
        errand()
    except Exception:
        log.exception("an errand of the jobs failed, and is tried again in a few seconds")
        return False
    return True
