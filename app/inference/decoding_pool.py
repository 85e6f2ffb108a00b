"""Decodes pictures in processes that are killed at a limit, so that no file can occupy the server."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from app.errors import ServiceError
from app.inference.decoding_process import Answer, Pipe, Request, enlarge_pipe, read, receive, send
from models.errors import BrokenPicture, PictureTooComplex
from models.imaging import FileInfo, Picture
from models.metadata import Metadata
from models.options import MetadataPolicy

Result = TypeVar("Result")

ROOT = Path(__file__).parents[2]  # from which the process imports this package
BASE_MEMORY = 512 * 2**20  # bytes of a process before it reads a picture, generously
BYTES_PER_PIXEL = 64  # that decoding may take, generously: four channels of 16 bits, twice, with floating-point intermediates
BASE_SECONDS = 2.0  # on the processor, that reading a header may take
SECONDS_PER_PIXEL = 1e-6  # on the processor, generously: JPEG 2000 takes a third of it
WALL_FACTOR = 4  # how much longer a picture may take by the clock, on a machine with other work
SHUTDOWN_SECONDS = 5.0  # that work may take while the server shuts down
STALLED = 10.0  # seconds without an answer, while all processes work, after which the pool is stalled

_TINY = b"GIF87a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;"  # a picture of one pixel

log = logging.getLogger("chromaroute")


class DecodingProcess:
    """One process, which holds one file at a time; it starts with the first. Methods block.

    Args:
        max_pixels: of a page.
        seconds: on the processor that a page may take at most.
    """

    def __init__(self, max_pixels: int, seconds: float) -> None:
        self._max_pixels, self._seconds = max_pixels, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._was_killed = False  # since `reset`
        self._is_dead = True
        self._info: FileInfo | None = None

    def open(self, content: bytes) -> FileInfo:
        """Read the header of a file.

        Raises:
            PictureError: as `models.imaging.Document`.
            PictureTooComplex: it takes too long, or too much memory.
            ServiceError: the process was killed meanwhile (`overloaded`).
        """
        self._ensure_started()
        request = Request(command="open", seconds=BASE_SECONDS, size=len(content), max_pixels=self._max_pixels)
        answer = self._ask(request, content)
        assert answer.info is not None
        self._info = answer.info
        return answer.info

    def decode(self, page: int, format: str, policy: MetadataPolicy) -> Picture:
        """Decode a page of the open file, with the metadata that the policy keeps; errors as for `open`."""
        assert self._info is not None
        width, height = self._info.sizes[page - 1]
        seconds = min(self._seconds, BASE_SECONDS + SECONDS_PER_PIXEL * width * height)
        answer = self._ask(Request(command="decode", seconds=seconds, page=page, format=format, policy=policy))
        try:
            luma, alpha, luma16 = (
                None if plane is None else read(self._output, np.empty(plane.shape, plane.type)) for plane in answer.planes
            )
        except EOFError:
            raise self._reason(seconds) from None
        assert luma is not None
        metadata = answer.metadata or Metadata()
        return Picture(luma, alpha, self._info.format, luma16, metadata, page, self._info.page_count)

    def close(self) -> None:
        """Let the process free the file."""
        self._info = None
        if self._process is not None:
            with suppress(OSError):  # it has ended
                send(self._input, Request(command="close"))

    def kill(self) -> None:
        """End the process; another one starts with the next file. May be called while another method runs."""
        self._was_killed = self._is_dead = True
        if self._process is not None:
            self._process.kill()

    def reset(self) -> None:
        """Forget that the process was killed. Called before another file is opened, and not by the thread that does it."""
        self._was_killed = False

    def stop(self) -> None:
        """End the process, and free what it holds."""
        self.kill()
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._input.close()
            self._output.close()
            self._process = None

    def _ensure_started(self) -> None:
        if self._process is not None and not self._is_dead and self._process.poll() is None:
            return
        self._end()
        memory = BASE_MEMORY + BYTES_PER_PIXEL * self._max_pixels
        command = [sys.executable, "-P", "-m", "app.inference.decoding_process", str(memory)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0)
        self._input, self._output = cast(Pipe, self._process.stdin), cast(Pipe, self._process.stdout)
        enlarge_pipe(self._input)
        self._is_dead = False
        if self._was_killed:  # while it was started
            self.kill()

    def _ask(self, request: Request, content: bytes = b"") -> Answer:
        try:
            send(self._input, request, content)
            answer = receive(self._output, Answer)
        except (OSError, EOFError):
            raise self._reason(request.seconds) from None
        answer.raise_error()
        return answer

    def _reason(self, seconds: float) -> Exception:
        """Why the process has ended."""
        assert self._process is not None
        code = self._process.wait()
        if self._was_killed:
            return _shutting_down()
        if sys.platform != "win32" and code == -signal.SIGPROF:
            return PictureTooComplex(
                f"decoding the picture takes more than {seconds:g} seconds of processor time: export it again."
            )
        log.warning("a decoding process ended with the code %d", code)
        if sys.platform != "win32" and code == -signal.SIGKILL:
            return PictureTooComplex("decoding the picture took more memory than the server has left: send a smaller one.")
        return BrokenPicture("the picture is damaged: its decoder crashed. Export it again.")


class OpenFile:
    """A file that one of the processes holds until it is closed.

    Attributes:
        info: what its header says.
    """

    def __init__(self, pool: "DecodingPool", process: DecodingProcess, info: FileInfo, lease: ExitStack) -> None:
        self._pool, self._process, self.info, self._lease = pool, process, info, lease

    async def decode(self, page: int, format: str, policy: MetadataPolicy = "keep-gps") -> Picture:
        """Decode a page, from 1, for an output format, with the metadata that the policy keeps.

        Raises:
            PictureError, ServiceError: as `DecodingPool.open`.
        """
        return await self._pool.run(self._process, self._process.decode, page, format, policy)

    def close(self) -> None:
        """Let the process go on with another file."""
        self._lease.close()


class DecodingPool:
    """Processes that decode, each one file at a time; other files wait.

    Args:
        count: of processes; background work leaves one of them to other work.
        max_pixels: of a page.
        seconds: on the processor that a page may take at most.
    """

    def __init__(self, count: int, max_pixels: int, seconds: float) -> None:
        self._processes = [DecodingProcess(max_pixels, seconds) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decoding")
        self._free: asyncio.LifoQueue[DecodingProcess] = asyncio.LifoQueue()
        for process in self._processes:
            self._free.put_nowait(process)
        self._background = asyncio.Semaphore(max(1, count - 1))
        self._seconds = seconds * WALL_FACTOR
        self._is_draining = False
        self._started: dict[DecodingProcess, float] = {}  # when the current work of a process began

    @property
    def stalled(self) -> bool:
        """Whether all processes work, and none has answered for a while."""
        is_busy = len(self._started) == len(self._processes)
        return is_busy and time.monotonic() - max(self._started.values()) > STALLED

    @asynccontextmanager
    async def open(self, content: bytes, background: bool) -> AsyncIterator[OpenFile]:
        """Read the header of a file in a process. If the task is cancelled, the process is killed.

        Raises:
            PictureError: as `models.imaging.Document`.
            PictureTooComplex: it takes too long, or too much memory.
            ServiceError: the server is shutting down (`overloaded`).
        """
        with ExitStack() as lease:  # which ends when the file is closed, or here
            if background:
                await self._background.acquire()
                lease.callback(self._background.release)
            process = await self._free.get()
            lease.callback(self.release, process)
            process.reset()
            yield OpenFile(self, process, await self.run(process, process.open, content), lease)

    async def warm_up(self) -> None:
        """Wait until all processes have started."""
        free = [await self._free.get() for _ in self._processes]
        try:
            await asyncio.gather(*(self.run(process, process.open, _TINY) for process in free))
        finally:
            for process in free:
                self.release(process)

    def drain(self) -> None:
        """Let work take only a moment from now on, because the server is shutting down."""
        self._is_draining = True
        self._seconds = min(self._seconds, SHUTDOWN_SECONDS)
        running = list(self._started.items())

        def kill_old() -> None:
            for process, started in running:
                if self._started.get(process) == started:
                    process.kill()

        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, SHUTDOWN_SECONDS, kill_old)  # also from a signal handler

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.stop()
        self._threads.shutdown()

    def release(self, process: DecodingProcess) -> None:
        """Let a process that has no work free its file, and take another one."""
        process.close()
        self._free.put_nowait(process)

    async def run(self, process: DecodingProcess, work: Callable[..., Result], *arguments: object) -> Result:
        """The result of work of a process, which is killed if the work takes too long or nobody waits for it any more."""
        future = self._threads.submit(work, *arguments)
        self._started[process] = time.monotonic()
        seconds = self._seconds
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(future)
        except (TimeoutError, asyncio.CancelledError) as error:
            process.kill()
            with suppress(Exception):
                await asyncio.shield(asyncio.wrap_future(future))
            if isinstance(error, asyncio.CancelledError):
                raise
            if self._is_draining:
                raise _shutting_down() from error
            raise PictureTooComplex(f"decoding the picture takes more than {seconds:g} seconds: export it again.") from error
        finally:
            del self._started[process]


def _shutting_down() -> ServiceError:
    return ServiceError("overloaded", "the server is shutting down: send the picture again.", retry_after=1)
