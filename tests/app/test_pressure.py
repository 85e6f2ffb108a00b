"""Limits, deadlines and priorities of requests, and an orderly shutdown."""

import asyncio
import io
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.inference.engine import Engine
from app.main import create_app
from app.settings import Settings
from models.options import Options
from tests.app.helpers import BlockedPredict, metric
from tests.server_process import serving, wait_until

pytestmark = pytest.mark.timing


def test_requests_over_limit_are_rejected_until_slots_are_free(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(Settings(jobs=False, max_requests=3))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        blocked = BlockedPredict(client.app.state.engine, monkeypatch)  # type: ignore[attr-defined]
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(client.post, "/v1/colorize", files={"file": cat}) for _ in range(3)]
            wait_until(lambda: metric(client, "chromaroute_requests_in_flight ") == 3)
            refused = client.post("/v1/colorize", files={"file": cat})
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:chromaroute:problem:overloaded")
            assert refused.headers["retry-after"] == "1"
            assert client.get("/livez").status_code == client.get("/v1/categories").status_code == 200
            blocked.release.set()
            assert [future.result().status_code for future in running] == [200] * 3
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert metric(client, 'chromaroute_refused_total{reason="overloaded"}') == 1


@pytest.mark.slow
def test_deadline_is_504_and_waiting_requests_are_dropped(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(Settings(jobs=False, deadline=2))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        blocked = BlockedPredict(client.app.state.engine, monkeypatch)  # type: ignore[attr-defined]
        with ThreadPoolExecutor(6) as pool:
            waiting = [pool.submit(client.post, "/v1/colorize", files={"file": cat}) for _ in range(6)]
            wait_until(lambda: metric(client, 'chromaroute_refused_total{reason="deadline"}') == 6)
            assert blocked.calls == 1  # the one that was running; the others never started
            blocked.release.set()
            for future in waiting:
                assert (future.result().status_code, future.result().json()["type"]) == (
                    504,
                    "urn:chromaroute:problem:deadline-exceeded",
                )
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert blocked.calls == 2


def test_single_pictures_have_priority_over_jobs(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of jobs wait while there are single pictures."""
    monkeypatch.setattr("app.inference.engine.YIELD_SECONDS", 60)

    async def run() -> list[str]:
        engine = Engine(Settings(jobs=False), create_app(Settings(jobs=False)).state.metrics)
        done: list[str] = []

        async def read() -> bytes:
            return cat

        async def one(name: str, background: bool) -> None:
            await engine.colorize(read, Options(), background=background)
            done.append(name)

        job = [asyncio.create_task(one("job", True)) for _ in range(12)]
        await asyncio.sleep(0)
        single = [asyncio.create_task(one("single", False)) for _ in range(6)]
        await asyncio.gather(*single)
        seen = list(done)
        await asyncio.gather(*job)
        engine.close()
        return seen

    seen = asyncio.run(run())
    assert seen.count("job") <= 4  # those that had started
    assert seen.count("single") == 6


@pytest.mark.server
@pytest.mark.slow
def test_sigterm_drains_before_shutdown(cat: bytes, tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.open(io.BytesIO(cat)).resize((6000, 5000)).save(big, "PNG")
    with serving(tmp_path, drain=3) as server, ThreadPoolExecutor(1) as pool:
        response = pool.submit(httpx2.post, f"{server.address}/v1/colorize", files={"file": big.getvalue()}, timeout=60)
        wait_until(lambda: "chromaroute_requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx2.get(f"{server.address}/readyz").status_code == 503)
        assert httpx2.get(f"{server.address}/readyz").json() == {"status": "draining"}
        assert httpx2.get(f"{server.address}/livez").status_code == 200
        assert response.result().status_code == 200
        assert server.process.wait(30) in (0, -signal.SIGTERM)
