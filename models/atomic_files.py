"""Atomic writes: a file or a folder is either complete or absent."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_SHOWN = 40  # characters of a name in that of its temporary file; file systems allow 255 bytes


def replace_file(path: Path, content: bytes, make_folder: bool = True) -> None:
    """Write `content` to a temporary file beside `path`, flush it to the disk, then rename it to `path`."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_SHOWN]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(folder: Path) -> None:
    """Raise an OSError if no file can be created in a folder."""
    tempfile.TemporaryFile(dir=folder).close()


def replace_folder(folder: Path, files: Mapping[str, bytes], check: Callable[[Path], object]) -> None:
    """Write the files to a temporary folder, `check` it (which raises if it is not valid), then rename it to `folder`.

    The old folder is restored if that fails, and deleted only after the new one is in place.
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
