"""The process that decodes pictures, which nobody trusts: it can be killed, and has limits on time and memory.

    python -m app.inference.decoding_process MEMORY

It reads requests from standard input and answers on standard output, one after another: each is the length of a JSON text, the
text, and bytes whose number the text says. No pickle: an answer cannot run code. The process holds one file at a time, and is ended
by SIGPROF when a request has taken its time on the processor.
"""

import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from app.inference.process_tuning import trim_memory, tune_process
from models import errors
from models.errors import BrokenPicture, PictureError, PictureTooComplex
from models.imaging import Document, FileInfo, Picture
from models.libvips import libvips
from models.luma import SampleArray
from models.metadata import Metadata
from models.options import MetadataPolicy

Message = TypeVar("Message", bound=BaseModel)
Buffer = TypeVar("Buffer", bound="bytearray | SampleArray")

IDLE_SECONDS = 2.0  # without a request, after which free memory is returned to the system
_PIPE_BYTES = 2**20  # the largest buffer of a pipe that Linux allows by default
_LENGTH_BYTES = 4


class Pipe(Protocol):
    """One end of a pipe, without a buffer."""

    def fileno(self) -> int: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def write(self, content: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class Request(BaseModel):
    """Open a file of `size` bytes, which follow; decode a page of it; or close it, which has no answer.

    Args:
        command: what to do.
        seconds: of the processor that the command may take.
        size: of the file in bytes.
        max_pixels: as of `models.imaging.Document`.
        page: from 1.
        format: of the output.
        policy: of the metadata that are answered.
    """

    command: Literal["open", "decode", "close"]
    seconds: float = 0
    size: int = 0
    max_pixels: int = 0
    page: int = 1
    format: str = "auto"
    policy: MetadataPolicy = "keep-gps"


class Plane(BaseModel):
    """A plane of a picture whose bytes follow."""

    model_config = ConfigDict(frozen=True)

    shape: tuple[int, int]
    type: Literal["uint8", "uint16"]

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.shape[0] * self.shape[1] * np.dtype(self.type).itemsize


class Answer(BaseModel):
    """What a file is, what a page is, or why not. The planes of a page follow: luma, alpha, luma of 16 bits, if it has them.

    Args:
        error: the name of a `PictureError`.
        detail: its message.
        info: of the opened file.
        metadata: of the page.
        planes: of the page.
        traceback: of an error that is none of the picture.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    error: str | None = None
    detail: str = ""
    info: FileInfo | None = None
    metadata: Metadata | None = None
    planes: tuple[Plane | None, Plane | None, Plane | None] = (None, None, None)

    def raise_error(self) -> None:
        """Raise the error that it reports, if there is one."""
        if self.error is not None:
            known = getattr(errors, self.error, None)
            is_known = isinstance(known, type) and issubclass(known, PictureError)
            raise known(self.detail) if is_known else BrokenPicture(self.detail)  # type: ignore[misc]


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer requests until the standard input ends."""
    (memory,) = arguments if arguments is not None else sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when it ends
    logging.disable()  # what decoders warn about
    tune_process(largest=2**30)  # it has one thread
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries must not write into the answers
    enlarge_pipe(answers)
    _limit_memory(int(memory))
    libvips()
    with open(0, "rb", buffering=0) as requests:
        serve(requests, answers)


def serve(requests: Pipe, answers: Pipe) -> None:
    """Answer requests until there are no more."""
    document: Document | None = None
    while True:
        _trim_when_idle(requests)
        try:
            request = receive(requests, Request)
        except EOFError:
            return
        picture: Picture | None = None
        answer = Answer()
        _limit_time(request.seconds)
        try:
            if request.command == "open":
                document = None
                document = Document(bytes(read(requests, bytearray(request.size))), request.max_pixels)
                answer.info = document.info
            elif request.command == "decode" and document is not None:
                picture = document.decode(request.page, request.format)
                answer.metadata, answer.planes = picture.metadata.filtered(request.policy), _described(picture)
        except MemoryError:
            answer = Answer(error=PictureTooComplex.__name__, detail="decoding the picture takes too much memory: export it again.")
        except PictureError as error:
            answer = Answer(error=type(error).__name__, detail=str(error))
        _limit_time(0)
        if request.command == "close":
            document = None
        else:
            send(answers, answer, *(_planes(picture) if picture is not None else ()))


def send(pipe: Pipe, message: BaseModel, *contents: "bytes | SampleArray | None") -> None:
    """Write a message, and the contents that follow it."""
    text = message.model_dump_json(exclude_defaults=True).encode()
    for content in (len(text).to_bytes(_LENGTH_BYTES), text, *contents):
        rest = _bytes_of(b"" if content is None else content)
        while rest:
            rest = rest[pipe.write(rest) or 0 :]


def receive(pipe: Pipe, type: type[Message]) -> Message:
    """Read a message. Raises an EOFError if the pipe is closed."""
    length = int.from_bytes(read(pipe, bytearray(_LENGTH_BYTES)))
    return type.model_validate_json(read(pipe, bytearray(length)))


def read(pipe: Pipe, buffer: Buffer) -> Buffer:
    """Fill a buffer. Raises an EOFError if the pipe is closed before."""
    rest = _bytes_of(buffer)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError("the pipe was closed")
        rest = rest[count:]
    return buffer


def enlarge_pipe(pipe: Pipe) -> None:
    """Let a pipe hold more at a time, where that is possible: planes of many megapixels pass it three times as fast."""
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _bytes_of(content: "bytes | bytearray | SampleArray") -> memoryview:
    return content.ravel().data.cast("B") if isinstance(content, np.ndarray) else memoryview(content)


def _trim_when_idle(requests: Pipe) -> None:
    if sys.platform != "win32" and not select.select([requests], [], [], IDLE_SECONDS)[0]:
        trim_memory()


def _planes(picture: Picture) -> tuple[SampleArray | None, SampleArray | None, SampleArray | None]:
    return picture.luma, picture.alpha, picture.luma16


def _described(picture: Picture) -> tuple[Plane | None, Plane | None, Plane | None]:
    luma, alpha, luma16 = (None if plane is None else Plane(shape=plane.shape, type=plane.dtype.name) for plane in _planes(picture))
    return luma, alpha, luma16


def _limit_time(seconds: float) -> None:
    """End the process after so many seconds on the processor, of all its threads; 0 removes the limit."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(size: int) -> None:
    """Limit the memory of this process, and let the system end it first if the memory of the machine is used up."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")


if __name__ == "__main__":
    main()
