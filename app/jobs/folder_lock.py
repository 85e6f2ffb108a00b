"""The lock of the data folder, for jobs whose queue is in SQLite."""

import errno
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from app.settings import SettingsError

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class LocksUnsupported(SettingsError):
    """The file system of the data folder does not support file locks, without which jobs cannot be kept safely."""


def lock_folder(folder: Path) -> BaseFileLock:
    """Lock the data folder: with SQLite, only one process may use the queue.

    Raises:
        SettingsError: another process has locked it.
        LocksUnsupported: there are no file locks.
        OSError: the folder cannot be written.
    """
    lock = FileLock(folder / "jobs.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise SettingsError(
            f"another server uses the jobs in {folder}: set another CHROMAROUTE_DATA_DIR for this one, turn its jobs off with "
            "CHROMAROUTE_JOBS=0, or let both share CHROMAROUTE_DATABASE=postgresql://..."
        ) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise LocksUnsupported(
            f"the file system of {folder} does not support file locks, which jobs need: set another CHROMAROUTE_DATA_DIR."
        ) from error
    return lock
