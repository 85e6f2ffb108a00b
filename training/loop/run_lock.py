"""A lock on the folder of a run, so that only one process group trains it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import ChromarouteError
from training.loop.distributed import ProcessGroup


class RunLocked(ChromarouteError):
    """Another process trains this run."""


@contextmanager
def lock_run(folder: Path, group: ProcessGroup) -> Iterator[None]:
    """Lock the folder of a run; the operating system releases the lock when the process ends.

    Raises:
        RunLocked: another process holds the lock.
    """
    if not group.is_main:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunLocked(
            f"{folder} is being trained by another process: wait for it, or choose another folder with --runs."
        ) from error
    try:
        yield
    finally:
        lock.release()
