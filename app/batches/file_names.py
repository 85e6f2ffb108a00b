"""File names: safe names for archive entries, names of outputs, and unique names, on Linux, macOS and Windows alike."""

import re
import unicodedata
from pathlib import PurePosixPath

SUFFIXES = {  # of each format that is written; the first is given to new names
    "jpeg": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
FORMATS = {suffix: format for format, suffixes in SUFFIXES.items() for suffix in suffixes}

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f:*?"<>|\ud800-\udfff]')  # on at least one operating system
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?= *(?:\.|$))", re.IGNORECASE)  # on Windows
_MAX_PART = 200  # bytes of a part of a path; file systems allow 255, and names get numbers and suffixes
_MAX_NAME = 200  # characters of a path; Windows allows 260 with the folder
_SYSTEM_FOLDERS = {"__macosx", "@eadir"}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"}


def safe_name(name: str) -> str:
    """A relative path that can be unpacked below any folder on every operating system; NFC, so that equal names are equal."""
    parts = [_safe_part(part) for part in re.split(r"[\\/]", unicodedata.normalize("NFC", name))]
    kept = [part for part in parts if part.strip(".")] or ["picture"]
    while len(kept) > 1 and len("/".join(kept)) > _MAX_NAME:
        del kept[0]
    return "/".join(kept)


def output_name(name: str, format: str) -> str:
    """The same name if its suffix is one of the format; otherwise with the suffix of the format appended (`scan.bmp.png`)."""
    if PurePosixPath(name).suffix.lower() in SUFFIXES[format]:
        return name
    return name + SUFFIXES[format][0]


def is_system_file(name: str) -> bool:
    """Whether a file was added by an operating system, an archiver or a picture manager rather than by the user, or is hidden."""
    path = PurePosixPath(name.replace("\\", "/").lower())
    hidden = any(part.startswith(".") and part.strip(".") for part in path.parts)
    return hidden or not _SYSTEM_FOLDERS.isdisjoint(path.parts) or path.name in _SYSTEM_FILES


class UniqueNames:
    """Makes paths unique, ignoring case and Unicode form, by a number: a second `scan.jpg` becomes `scan-2.jpg`.

    A name cannot be that of a file and of a folder.

    Args:
        reserved: names that are taken.
    """

    def __init__(self, *reserved: str) -> None:
        self._files = {_key(name) for name in reserved}
        self._folders: dict[str, str] = {}  # by the key of the wanted path
        self._taken_folders: set[str] = set()
        self._next: dict[str, int] = {}

    def claim(self, name: str) -> str:
        """The name, or the next numbered one, which is taken from now on."""
        *folders, last = name.split("/")
        parent = ""
        for folder in folders:
            parent = self._folder(parent + folder) + "/"
        chosen = self._free(parent + last)
        self._files.add(_key(chosen))
        return chosen

    def _folder(self, wanted: str) -> str:
        key = _key(wanted)
        if key not in self._folders:
            self._folders[key] = wanted if key not in self._files else self._free(wanted)
            self._taken_folders.add(_key(self._folders[key]))
        return self._folders[key]

    def _free(self, wanted: str) -> str:
        chosen, path, number = wanted, PurePosixPath(wanted), self._next.get(_key(wanted), 2)
        while _key(chosen) in self._files or _key(chosen) in self._taken_folders:
            chosen = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            number += 1
        self._next[_key(wanted)] = number
        return chosen


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _safe_part(part: str) -> str:
    part = _FORBIDDEN.sub("_", part).strip().rstrip(". ")
    if _RESERVED.match(part):
        part = f"_{part}"
    if len(part.encode()) > _MAX_PART:
        half = _MAX_PART // 2
        part = part.encode()[:half].decode(errors="ignore") + part.encode()[-half:].decode(errors="ignore")
    return part
