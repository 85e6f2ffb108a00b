"""Too many requests, too blocked ones, clients that leave, and an end in good order; on a server of its own."""

import asyncio
import io
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.inference.engine import Engine
from app.inference.idle_trim import IdleTrimmer
from app.main import create_app
from app.settings import Settings
from tests.server_process import serving, wait_until

Encode = Callable[..., bytes]


@pytest.fixture
def cat(photographs: dict[str, Image.Image], encoded: Encode) -> bytes:
    return encoded(photographs["cat"].convert("L"), "JPEG")


class BlockedPredict:
    """Holds every painting until it is told to let released."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released, self.calls = threading.Event(), 0
        predict = engine.ensemble.predict

        def blocked(*arguments: object) -> object:
            self.calls += 1
            assert self.released.wait(30)
            return predict(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(engine.ensemble, "predict", blocked)


def metric(client: TestClient, name: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines)


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
            blocked.released.set()
            assert [future.result().status_code for future in running] == [200] * 3
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert metric(client, 'chromaroute_refused_total{reason="overloaded"}') == 1


def test_deadline_is_504_and_waiting_requests_are_dropped(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(Settings(jobs=False, deadline=2))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        blocked = BlockedPredict(client.app.state.engine, monkeypatch)  # type: ignore[attr-defined]
        with ThreadPoolExecutor(6) as pool:
            late = [pool.submit(client.post, "/v1/colorize", files={"file": cat}) for _ in range(6)]
            wait_until(lambda: metric(client, 'chromaroute_refused_total{reason="deadline"}') == 6)
            assert blocked.calls == 1  # the one in the thread of the networks; the others were never calls
            blocked.released.set()
            for future in late:
                assert (future.result().status_code, future.result().json()["type"]) == (
                    504,
                    "urn:chromaroute:problem:deadline-exceeded",
                )
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert blocked.calls == 2


def test_requests_of_disconnected_clients_are_dropped(cat: bytes, tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.open(io.BytesIO(cat)).resize((5000, 4000)).save(big, "PNG")
    with serving(tmp_path, jobs=0) as server:
        host, port = server.address.removeprefix("http://").split(":")
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + big.getvalue() + b"\r\n--x--\r\n"
        head = f"POST /v1/colorize HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: "
        for _ in range(12):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
                time.sleep(0.05)
        wait_until(lambda: 'refused_total{reason="disconnected"}' in httpx2.get(f"{server.address}/metrics").text)
        wait_until(lambda: "chromaroute_requests_in_flight 0.0" in httpx2.get(f"{server.address}/metrics").text)
        text = httpx2.get(f"{server.address}/metrics").text
        encoded_pictures = [
            line for line in text.splitlines() if line.startswith('chromaroute_stage_seconds_count{stage="encode"}')
        ]
        assert not encoded_pictures or float(encoded_pictures[0].split()[1]) < 12


def test_single_pictures_have_priority_over_jobs(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a job waits its turn, single pictures overtake it: the background gives way while anybody is there."""
    monkeypatch.setattr("app.inference.engine.YIELD_SECONDS", 60)

    async def run() -> list[str]:
        engine = Engine(Settings(jobs=False), create_app(Settings(jobs=False)).state.metrics)
        done: list[str] = []

        async def read() -> bytes:
            return cat

        async def one(name: str, background: bool) -> None:
            from models.options import Options

            await engine.colorize(read, Options(), background=background)
            done.append(name)

        job = [asyncio.create_task(one("job", True)) for _ in range(12)]
        await asyncio.sleep(0)
        people = [asyncio.create_task(one("person", False)) for _ in range(6)]
        await asyncio.gather(*people)
        seen = list(done)
        await asyncio.gather(*job)
        engine.close()
        return seen

    seen = asyncio.run(run())
    assert seen.count("job") <= 4  # those that had calls
    assert seen.count("person") == 6


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

        for index in range(len(uploads)):
            send(index)
        time.sleep(4)
        before = server.memory
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(send, range(500)))
        assert set(codes) == {200, 415, 422}
        wait_until(lambda: server.memory < before + 50, 20)


def test_stalled_batch_upload_is_408_and_frees_slot(cat: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, jobs=0, deadline=5, max_requests=8) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as silent:
            silent.sendall(
                f"POST /v1/colorize/batch HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode()
            )
            wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
            full = httpx2.post(f"{server.address}/v1/colorize/batch", files={"files": cat})
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")  # one in eight may bring many pictures
            assert httpx2.post(f"{server.address}/v1/colorize", files={"file": cat}).status_code == 200
            with HTTPResponse(silent) as response:
                response.begin()
                assert response.status == 408
                assert b"blocked-client" in response.read()
        assert httpx2.post(f"{server.address}/v1/colorize/batch", files={"files": cat}).status_code == 200


def test_unread_batch_response_frees_slot(cat: bytes, tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.effect_noise((1500, 1500), 80).save(big, "PNG")
    with serving(tmp_path, jobs=0, deadline=1, max_requests=8) as server:
        host, port = server.address.removeprefix("http://").split(":")
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + big.getvalue() + b"\r\n"
        body = part * 4 + b"--x--\r\n"
        with socket.create_connection((host, int(port))) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"POST /v1/colorize/batch HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
            silent.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body)
            wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
            wait_until(lambda: "requests_in_flight 0.0" in httpx2.get(f"{server.address}/metrics").text)
            assert 'refused_total{reason="slow_client"} 1.0' in httpx2.get(f"{server.address}/metrics").text


def test_idle_trimmer_trims_once_after_last_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[float] = []
    monkeypatch.setattr("app.inference.idle_trim.IDLE", 0.2)
    monkeypatch.setattr("app.inference.idle_trim._trim", lambda: trimmed.append(time.monotonic()))

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


def test_memory_is_trimmed_after_picture(cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr("app.inference.idle_trim.IDLE", 0.1)
    monkeypatch.setattr("app.inference.idle_trim._trim", trimmed.set)
    with TestClient(create_app(Settings(jobs=False))) as client:
        assert client.post("/v1/colorize", files={"file": cat}).status_code == 200
        assert trimmed.wait(10)


def test_unread_picture_response_frees_slot(tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.effect_noise((3000, 3000), 80).save(big, "PNG")
    with serving(tmp_path, jobs=0, deadline=10, max_requests=1) as server:
        host, port = server.address.removeprefix("http://").split(":")
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + big.getvalue() + b"\r\n--x--\r\n"
        with socket.create_connection((host, int(port))) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"POST /v1/colorize HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
            silent.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body)
            wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
            wait_until(lambda: 'stage_seconds_count{stage="encode"} 1.0' in httpx2.get(f"{server.address}/metrics").text)
            assert "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text  # the response waits for its client
            wait_until(lambda: "requests_in_flight 0.0" in httpx2.get(f"{server.address}/metrics").text)
            assert 'refused_total{reason="slow_client"} 1.0' in httpx2.get(f"{server.address}/metrics").text
