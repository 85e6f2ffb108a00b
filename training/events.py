"""TensorBoard's event files, written again from the metrics whenever a run begins or goes on."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any


class Events:
    """The numbers of a run's rows as TensorBoard scalars in `FOLDER/tensorboard`; nothing at all where `active` is false."""

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]], active: bool = True) -> None:
        self._writer: Any = None
        if not active:
            return
        from tensorboardX import SummaryWriter

        place = folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place))
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """One validation's numbers."""
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._writer.add_scalar(name, value, row["step"])
            self._writer.flush()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()
