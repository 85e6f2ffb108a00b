"""Pictures are decoded in processes that have limits, and can be killed."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.errors import ServiceError
from app.inference import decoding_pool
from app.inference.decoding_pool import DecodingPool
from models import imaging
from models.errors import BrokenPicture, NotAPicture, PictureError, PictureTooComplex, PictureTooLarge
from models.imaging import Picture
from tests.picture_files import tiff

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def pool(count: int = 1, seconds: float = 20) -> AsyncIterator[DecodingPool]:
    started = DecodingPool(count, 1_000_000, seconds)
    try:
        yield started
    finally:
        started.close()


async def decoded(processes: DecodingPool, content: bytes, page: int = 1) -> Picture:
    async with processes.open(content, background=False) as file:
        return await file.decode(page, "auto")


async def decoded_after(refused: bytes, content: bytes, error: type[PictureError], message: str) -> Picture:
    """A picture that the same pool decodes after it has refused another one."""
    async with pool() as processes:
        with pytest.raises(error, match=message):
            await decoded(processes, refused)
        return await decoded(processes, content)


async def stop_only_process(processes: DecodingPool) -> None:
    """Let the process of a pool hang."""
    await processes.warm_up()
    (process,) = processes._processes
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGSTOP)


@pytest.fixture
def slow_picture(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A picture of which any decoding takes longer than the limit."""
    monkeypatch.setattr(decoding_pool, "SECONDS_PER_PIXEL", 0)
    monkeypatch.setattr(decoding_pool, "BASE_SECONDS", 0.02)
    file = io.BytesIO()
    Image.effect_noise((1000, 1000), 90).save(file, "JPEG2000")
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_picture_is_the_same_as_decoded_in_this_process(cat: bytes, dtype: str) -> None:
    levels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (70, 90, 4)).astype(dtype)
    contents = [
        cat,
        tiff(levels, photometric="rgb", extrasamples=["unassalpha"], description="Bärbel".encode(), resolution=(300, 300)),
    ]

    async def run() -> list[Picture]:
        async with pool() as processes:
            return [await decoded(processes, content) for content in contents]

    for content, picture in zip(contents, asyncio.run(run()), strict=True):
        expected = imaging.decode(content)
        assert picture.metadata == expected.metadata
        assert (picture.format, picture.page, picture.page_count) == (expected.format, 1, 1)
        for name in ("luma", "alpha", "luma16"):
            ours, theirs = getattr(picture, name), getattr(expected, name)
            assert (ours is None) == (theirs is None)
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("size", "error"), [(0, NotAPicture), (400, BrokenPicture), (None, PictureTooLarge)])
def test_errors_are_those_of_this_process(size: int | None, error: type[PictureError]) -> None:
    file = io.BytesIO()
    Image.effect_noise((1001, 1000) if size is None else (100, 100), 90).save(file, "PNG")

    async def run() -> None:
        async with pool() as processes:
            await decoded(processes, file.getvalue()[:size])

    with pytest.raises(error) as raised:
        asyncio.run(run())
    with pytest.raises(error) as expected:
        imaging.decode(file.getvalue()[:size], 1_000_000)
    assert str(raised.value) == str(expected.value)


def test_file_that_takes_too_long_is_refused_and_the_next_one_decoded(slow_picture: bytes, cat: bytes) -> None:
    if sys.platform != "win32":
        assert asyncio.run(decoded_after(slow_picture, cat, PictureTooComplex, "processor time")).width


def test_file_whose_decoder_crashes_is_refused_and_the_next_one_decoded(cat: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Picture:
        async with pool() as processes:
            await processes.warm_up()
            (process,) = processes._processes
            async with processes.open(cat, background=False) as file:
                assert process._process is not None
                os.kill(process._process.pid, signal.SIGSEGV)
                with pytest.raises(BrokenPicture, match="crashed"):
                    await file.decode(1, "auto")
            return await decoded(processes, cat)

    assert asyncio.run(run()).width
    assert "a decoding process ended with the code -11" in caplog.text


def test_memory_of_a_process_is_limited(monkeypatch: pytest.MonkeyPatch, cat: bytes) -> None:
    monkeypatch.setattr(decoding_pool, "BASE_MEMORY", 128 * 2**20)
    monkeypatch.setattr(decoding_pool, "BYTES_PER_PIXEL", 0)
    huge = tiff(np.zeros((1000, 1000, 4), np.float32), photometric="rgb", compression="deflate")

    if sys.platform == "linux":
        assert asyncio.run(decoded_after(huge, cat, PictureError, "memory|damaged")).width


def test_cancelled_work_kills_the_process_at_once(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> Picture:
        async with pool() as processes:
            await stop_only_process(processes)
            task = asyncio.create_task(decoded(processes, cat))
            await asyncio.sleep(0.1)
            start = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - start < 1
            return await decoded(processes, cat)  # although the killed process may not have ended yet

    if sys.platform != "win32":
        assert asyncio.run(run()).width


def test_work_that_hangs_ends_at_the_deadline_of_the_clock_or_of_the_shutdown(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_pool, "SHUTDOWN_SECONDS", 0.2)

    async def run(seconds: float, drains: bool) -> None:
        async with pool(seconds=seconds) as processes:
            await stop_only_process(processes)
            task = asyncio.create_task(decoded(processes, cat))
            await asyncio.sleep(0.05)
            assert not processes.stalled
            if drains:
                processes.drain()
            await asyncio.wait_for(task, 5)

    if sys.platform != "win32":
        with pytest.raises(PictureTooComplex, match=r"0\.2 seconds"):
            asyncio.run(run(0.05, drains=False))
        with pytest.raises(ServiceError, match="shutting down"):
            asyncio.run(run(20, drains=True))


def test_pool_is_stalled_while_all_processes_work_and_none_answers(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_pool, "STALLED", 0.2)

    async def run() -> None:
        async with pool() as processes:
            await processes.warm_up()
            await asyncio.sleep(0.3)  # without work
            (process,) = processes._processes
            assert process._process is not None
            os.kill(process._process.pid, signal.SIGSTOP)
            work = asyncio.create_task(decoded(processes, cat))
            await asyncio.sleep(0.05)
            assert not processes.stalled
            await asyncio.sleep(0.3)
            assert processes.stalled
            os.kill(process._process.pid, signal.SIGCONT)
            await work
            assert not processes.stalled

    if sys.platform != "win32":
        asyncio.run(run())


def test_background_work_leaves_a_process_to_other_work(cat: bytes) -> None:
    async def run() -> None:
        async with pool(count=2) as processes, processes.open(cat, background=True) as first:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2), processes.open(cat, background=True):
                    pass
            assert (await decoded(processes, cat)).width
            first.close()
            async with asyncio.timeout(10), processes.open(cat, background=True) as second:
                assert second.info.format == "jpeg"

    asyncio.run(run())


def test_decoding_process_does_not_load_torch_and_ends_with_its_input() -> None:
    script = "import sys, app.inference.decoding_process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0
    command = [sys.executable, "-m", "app.inference.decoding_process", str(2**30)]
    assert subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode == 0


@pytest.mark.slow
def test_process_that_is_killed_again_and_again_decodes_the_next_file(cat: bytes) -> None:
    async def run() -> list[int]:
        async with pool() as processes:
            widths = []
            for delay in (0, 0, 0.001, 0.005, 0.02, 0.05, 0.2, 0.4):
                task = asyncio.create_task(decoded(processes, cat))
                await asyncio.sleep(delay)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                widths.append((await decoded(processes, cat)).width)
            return widths

    assert len(asyncio.run(run())) == 8
