"""Metrics of a run as TensorBoard event files, rewritten whenever the run starts or resumes."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class TensorBoardWriter:
    """Writes the numbers of metrics rows as scalars to `FOLDER/tensorboard`; does nothing if `active` is false."""

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]], active: bool = True) -> None:
        self._writer: Any = None
        if not active:
            return
        from tensorboardX import SummaryWriter

        events = folder / "tensorboard"
        shutil.rmtree(events, ignore_errors=True)
        self._writer = SummaryWriter(str(events))
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Add the numbers of one validation."""
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, row["step"])
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
