"""Which of the processes that share their jobs are alive: each has a file, and touches it every few seconds."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

LOST = 60.0  # seconds without a sign of life after which a replica is lost


class Replica:
    """One process among the others.

    Args:
        folder: that all of them write.
        name: of this one.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._signs, self._lock = folder / "replicas", folder / "replicas.lock"
        self._sign = self._signs / name

    def live(self) -> None:
        """Give a sign of life."""
        self._signs.mkdir(exist_ok=True)
        self._sign.touch()

    def leave(self) -> None:
        """Say that the others need not wait."""
        os.utime(self._sign, (0, 0))

    def take_over(self, adopt: Callable[[str], None]) -> None:
        """Let `adopt` take over from every replica that is lost; one process at a time does."""
        now = self._sign.stat().st_mtime  # by the clock of the file system, which all replicas share
        with self._lock.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for sign in self._signs.iterdir():
                if sign.stat().st_mtime <= now - LOST:
                    adopt(sign.name)
                    sign.unlink()
