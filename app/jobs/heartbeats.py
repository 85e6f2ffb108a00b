"""Heartbeats of replicas: each touches a file every few seconds, so that others can take over the work of a lost one."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

LOST_AFTER = 60.0  # seconds without a heartbeat


class Heartbeat:
    """The heartbeat of one replica.

    Args:
        folder: shared by all replicas.
        name: of this replica.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._beats, self._lock = folder / "replicas", FileLock(folder / "replicas.lock", thread_local=False)
        self._own = self._beats / name

    def beat(self) -> None:
        """Record that this replica is alive."""
        self._beats.mkdir(exist_ok=True)
        self._own.touch()

    def retire(self) -> None:
        """Let other replicas take over at once."""
        os.utime(self._own, (0, 0))

    def take_over(self, adopt: Callable[[str], None]) -> None:
        """Call `adopt` with the name of every lost replica; only one process does so at a time."""
        now = self._own.stat().st_mtime  # of the clock of the file system, which all replicas share
        with self._lock:
            for beat in self._beats.iterdir():
                if beat.stat().st_mtime <= now - LOST_AFTER:
                    adopt(beat.name)
                    beat.unlink()
