"""Memory is returned to the operating system when the service is idle."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.inference.idle_trim import IdleTrimmer
from app.main import create_app
from app.settings import Settings
from tests.server_process import serving, wait_until

Encode = Callable[..., bytes]


@pytest.mark.server
@pytest.mark.slow
def test_memory_is_released_after_burst_of_500_uploads(
    photographs: dict[str, Image.Image], encoded: Encode, tmp_path: Path
) -> None:
    uploads = [encoded(picture.convert("L").resize((600 * scale, 500 * scale)), format)
               for picture in photographs.values() for scale in (1, 2) for format in ("JPEG", "PNG", "TIFF", "WEBP")]  # fmt: skip
    uploads += [
        b"no picture",
        uploads[0][:2000],
        encoded(next(iter(photographs.values())).convert("L").resize((4000, 3000)), "PNG"),
    ]

    with serving(tmp_path) as server, httpx2.Client(timeout=120) as client:

        def send(index: int) -> int:
            content = uploads[index % len(uploads)]
            return client.post(f"{server.address}/v1/colorize", files={"file": content}).status_code

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(4 * len(uploads))))  # each thread has memory of its own
            time.sleep(4)
            before = server.memory_mib
            codes = list(pool.map(send, range(500)))
        assert set(codes) == {200, 415, 422}
        wait_until(lambda: server.memory_mib < before + 50, 20)


def test_idle_trimmer_trims_once_after_last_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[float] = []
    monkeypatch.setattr("app.inference.idle_trim.IDLE_SECONDS", 0.2)
    monkeypatch.setattr("app.inference.idle_trim.trim_memory", lambda: trimmed.append(time.monotonic()))

    async def run() -> float:
        trimmer = IdleTrimmer()
        for _ in range(5):
            trimmer.touch()
            await asyncio.sleep(0.05)
        last = time.monotonic()
        await asyncio.sleep(0.5)
        return last

    last = asyncio.run(run())
    assert len(trimmed) == 1
    assert trimmed[0] > last


@pytest.mark.slow
def test_memory_is_trimmed_after_picture(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr("app.inference.idle_trim.IDLE_SECONDS", 0.1)
    monkeypatch.setattr("app.inference.idle_trim.trim_memory", trimmed.set)
    with TestClient(create_app(Settings(jobs=False))) as client:
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert trimmed.wait(10)
