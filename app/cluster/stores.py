"""Files by URL: local folders, object stores that pyarrow knows (s3, gs, abfs, hdfs), and those that fsspec knows."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from pyarrow import ArrowInvalid, ArrowNotImplementedError
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

from app.batches.file_names import is_system_file
from models.errors import OptionError


class Store:
    """A file or a folder at a URL or a local path. Sent to another machine, it opens its file system there.

    Raises:
        OptionError: there is no file system of that kind.
    """

    def __init__(self, url: str) -> None:
        self.url = url if "://" in url else str(Path(url).resolve())
        self.files, self.path = self._open()

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.url,)

    @property
    def is_local(self) -> bool:
        """Whether it is in the file system of this machine."""
        return isinstance(self.files, LocalFileSystem)

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self.files.get_file_info(self.path).type != FileType.NotFound)

    def pictures(self) -> Iterator[str]:
        """The relative paths of all files below, folder by folder, without those of systems; the name, if it is a file."""
        files = self.files
        if files.get_file_info(self.path).type == FileType.File:
            yield PurePosixPath(self.path).name
            return
        folders = [""]
        while folders:
            folder = folders.pop()
            for name, is_folder in self._children(files, folder):
                path = f"{folder}/{name}".lstrip("/")
                if is_folder:
                    folders.append(path)
                elif not is_system_file(path):
                    yield path

    def address(self, path: str) -> str:
        """The path of a file below, in the file system."""
        return self.path if PurePosixPath(self.path).name == path and not self._is_folder() else f"{self.path}/{path}"

    def open(self, path: str) -> Any:
        """A file below, for reading."""
        return self.files.open_input_file(self.address(path))

    def read(self, path: str) -> bytes:
        """The content of a file below."""
        with self.open(path) as file:
            return bytes(file.read())

    def has(self, path: str) -> bool:
        """Whether a file below exists."""
        return bool(self.files.get_file_info(f"{self.path}/{path}").type == FileType.File)

    def write(self, path: str, content: bytes) -> None:
        """Write a file below, completely or not at all: object stores do so, and local files get their name at the end."""
        files, target = self.files, f"{self.path}/{path}"
        if not self.is_local:
            with files.open_output_stream(target) as file:
                file.write(content)
            return
        partial = PurePosixPath(target).with_name(f".{uuid.uuid4().hex}.partial")
        files.create_dir(str(partial.parent), recursive=True)
        try:
            with files.open_output_stream(str(partial)) as file:
                file.write(content)
            os.replace(partial, target)
        finally:
            Path(partial).unlink(missing_ok=True)

    def _children(self, files: FileSystem, folder: str) -> Iterator[tuple[str, bool]]:
        """The names in a folder, and whether each is a folder. Local folders are streamed."""
        path = f"{self.path}/{folder}".rstrip("/")
        if isinstance(files, LocalFileSystem):
            with os.scandir(path) as entries:
                yield from ((entry.name, entry.is_dir()) for entry in entries if entry.is_dir() or entry.is_file())
            return
        for info in files.get_file_info(FileSelector(path)):
            yield info.base_name, info.type == FileType.Directory

    def _is_folder(self) -> bool:
        return bool(self.files.get_file_info(self.path).type == FileType.Directory)

    def _open(self) -> tuple[FileSystem, str]:
        if "://" not in self.url:
            return LocalFileSystem(), self.url
        try:
            files, path = FileSystem.from_uri(self.url)
        except (ArrowInvalid, ArrowNotImplementedError):
            try:
                other, path = fsspec.core.url_to_fs(self.url)
            except (ValueError, ImportError) as error:
                raise OptionError("PATH", self.url, f"a local path, or a URL of a store that can be opened ({error})") from error
            files = PyFileSystem(FSSpecHandler(other))
        return files, path.rstrip("/")
