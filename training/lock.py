"""One process, or one team of them, at a run at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import ChromarouteError
from training.team import Team


class RunBusy(ChromarouteError):
    """Another process trains this run."""


@contextmanager
def held(folder: Path, team: Team) -> Iterator[None]:
    """Hold a run's folder, so that nobody else writes into it; the system lets go of it when the process ends, however it does.

    Raises:
        RunBusy: another process holds it.
    """
    if team.rank > 0:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunBusy(
            f"{folder} is being trained by another process: wait for it, or choose another folder with --runs."
        ) from error
    try:
        yield
    finally:
        lock.release()
