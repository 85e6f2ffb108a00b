"""File names: safe names for archive entries, names of outputs, and unique names."""

import re
from pathlib import PurePosixPath

FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f:*?"<>|\ud800-\udfff]')  # on at least one operating system
_MAX_PART = 120  # characters of a part of a path
_MAX_PARTS = 8


def safe_name(name: str) -> str:
    """A relative path that stays below the folder into which it is unpacked, on every operating system."""
    parts = (_FORBIDDEN.sub("_", part).strip().rstrip(".") for part in re.split(r"[\\/]", name))
    kept = [
        part if len(part) <= _MAX_PART else part[: _MAX_PART // 2] + part[-_MAX_PART // 2 :] for part in parts if part.strip(".")
    ]
    return "/".join(kept[-_MAX_PARTS:]) or "picture"


def output_name(name: str, format: str) -> str:
    """The same name if its suffix is one of the format; otherwise with the suffix of the format appended (`scan.bmp.png`)."""
    if FORMATS.get(PurePosixPath(name).suffix.lower()) == format:
        return name
    return f"{name}.{format.replace('jpeg', 'jpg')}"


def is_system_file(name: str) -> bool:
    """Whether a file was added by an operating system or an archiver rather than by the user."""
    path = PurePosixPath(name.replace("\\", "/"))
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")


class UniqueNames:
    """Makes names unique, ignoring case, by a number: a second `scan.jpg` becomes `scan-2.jpg`.

    Args:
        reserved: names that are taken.
    """

    def __init__(self, *reserved: str) -> None:
        self._taken = {name.lower() for name in reserved}
        self._next: dict[str, int] = {}

    def claim(self, name: str) -> str:
        """The name, or the next numbered one, which is taken from now on."""
        chosen, path, number = name, PurePosixPath(name), self._next.get(name.lower(), 2)
        while chosen.lower() in self._taken:
            chosen = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            number += 1
        self._next[name.lower()] = number
        self._taken.add(chosen.lower())
        return chosen
