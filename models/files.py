"""Files and folders that are whole or absent: write aside, then replace."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


def replace_file(path: Path, content: bytes, make_folder: bool = True) -> None:
    """Write `content` beside `path`, flush it to the disk, then put it in place of `path`."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def replace_folder(folder: Path, files: Mapping[str, bytes], check: Callable[[Path], object]) -> None:
    """Write the files into a new folder beside `folder`, check it (it raises if it is not good), then put it in place.

    The old folder is put back if that fails half-way, and removed only when the new one is there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.new."))
    old = fresh.with_name(fresh.name.replace(".new.", ".old."))
    try:
        fresh.chmod(0o755)
        for name, content in files.items():
            replace_file(fresh / name, content)
        check(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
