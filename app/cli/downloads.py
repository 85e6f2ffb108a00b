"""Downloads a large file: continued where it was interrupted, and only kept if it is the expected one."""

from collections.abc import Callable
from pathlib import Path

import httpx

from models.errors import ChromarouteError

_TIMEOUT = 60.0  # seconds without any data


class DownloadError(ChromarouteError):
    """A file could not be downloaded."""


def download(url: str, path: Path, size: int | None, progress: Callable[[int, int | None], object] | None = None) -> None:
    """Download a file to a path, if it is not there yet. What an interrupted download has left is continued.

    Args:
        url: of the file.
        path: of the result, which appears when it is complete.
        size: in bytes, if it is known.
        progress: is called with the bytes so far, and of all, if they are known.

    Raises:
        DownloadError: the server cannot be reached, refuses, or sends another number of bytes.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    done = part.stat().st_size if part.exists() else 0
    try:
        with httpx.stream("GET", url, headers=_headers(done), follow_redirects=True, timeout=_TIMEOUT) as response:
            if response.status_code == 416:  # the part is complete, or of another file
                part.unlink()
                raise DownloadError(f"{url} has fewer bytes than were downloaded before: try again.")
            response.raise_for_status()
            resumed = response.status_code == 206
            done = done if resumed else 0
            length = response.headers.get("content-length")
            total = size or (done + int(length) if length else None)
            with part.open("ab" if resumed else "wb") as file:
                for content in response.iter_raw():
                    file.write(content)
                    done += len(content)
                    if progress is not None:
                        progress(done, total)
    except httpx.HTTPError as error:
        raise DownloadError(f"{url} could not be downloaded ({error}): try again, it continues where it ended.") from error
    if total is not None and done != total:
        if done > total:
            part.unlink()
        raise DownloadError(f"{url} sent {done} bytes and not {total}: try again, it continues where it ended.")
    part.rename(path)


def _headers(done: int) -> dict[str, str]:
    return {"Accept-Encoding": "identity", **({"Range": f"bytes={done}-"} if done else {})}
