"""Names of files: what a name may be inside an archive of ours, and what an answer is called."""

import re
from pathlib import PurePosixPath

FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}

_UNFIT = re.compile(r'[\x00-\x1f\x7f:*?"<>|\ud800-\udfff]')  # not allowed by one system or another
_LONGEST = 120  # letters of a part of a path


def safe(name: str) -> str:
    """A relative path that stays below the folder it is unpacked into, on any system."""
    parts = (_UNFIT.sub("_", part).strip().rstrip(".") for part in re.split(r"[\\/]", name))
    kept = [part if len(part) <= _LONGEST else part[: _LONGEST // 2] + part[-_LONGEST // 2 :] for part in parts if part.strip(".")]
    return "/".join(kept[-8:]) or "picture"


def answer_name(name: str, format: str) -> str:
    """The same name where its suffix is one of the format's; otherwise with the format's suffix behind it (`scan.bmp.png`)."""
    if FORMATS.get(PurePosixPath(name).suffix.lower()) == format:
        return name
    return f"{name}.{format.replace('jpeg', 'jpg')}"


def added_by_archivers(name: str) -> bool:
    """Whether a file is none of the person's: what systems and archivers leave beside their files."""
    path = PurePosixPath(name.replace("\\", "/"))
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")


class Names:
    """Tells names apart: one that was there before, in upper or lower case, gets a number (`scan-2.jpg`)."""

    def __init__(self, *reserved: str) -> None:
        self._taken = {name.lower() for name in reserved}
        self._next: dict[str, int] = {}

    def apart(self, name: str) -> str:
        """The name, or its next numbered one."""
        chosen, path, number = name, PurePosixPath(name), self._next.get(name.lower(), 2)
        while chosen.lower() in self._taken:
            chosen = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            number += 1
        self._next[name.lower()] = number
        self._taken.add(chosen.lower())
        return chosen
