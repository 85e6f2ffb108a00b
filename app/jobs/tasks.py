"""What the tasks of the queue share."""

from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS

RETRY_DELAY = 5.0  # seconds until work is retried that failed for a reason other than itself


class Interrupted(BaseException):
    """Ends a task as a crash would: DBOS stores no outcome of what is not an Exception, and runs the task again later."""


@contextmanager
def running(tasks: set[str]) -> Iterator[None]:
    """Add the task of this thread to those that are running."""
    name = str(DBOS.workflow_id)
    tasks.add(name)
    try:
        yield
    finally:
        tasks.discard(name)
