"""Places for requests in progress: of each kind, and for each client; and clients that keep them for long."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from app.api_keys import add_key
from app.errors import SlowClient
from app.main import create_app
from app.metrics import Metrics
from app.middleware import slow_clients
from app.middleware.admission import Admission
from app.middleware.slow_clients import SlowClients
from app.policy import Cost, RoutePolicy, find_policy
from app.routes.jobs import router
from app.settings import Settings
from tests.app.helpers import BlockedPredict, metric
from tests.server_process import wait_until

CLIENTS = ("press", "school", "museum")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    """A file of keys, and the headers of each client."""
    path = tmp_path / "keys.json"
    return path, {name: {"authorization": f"Bearer {add_key(path, name, 1000)}"} for name in CLIENTS}


@pytest.mark.slow
@pytest.mark.timing
def test_one_client_leaves_places_to_others(
    cat: bytes, keys: tuple[Path, dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, headers = keys
    with TestClient(create_app(Settings(jobs=False, max_requests=8, keys=path)), headers=headers["press"]) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        blocked = BlockedPredict(client.app.state.engine, monkeypatch)  # type: ignore[attr-defined]

        def post(name: str) -> httpx2.Response:
            return client.post("/v1/colorize", files={"file": cat}, headers=headers[name])

        with ThreadPoolExecutor(8) as pool:
            running = [pool.submit(post, "press") for _ in range(6)]
            wait_until(lambda: metric(client, "chromaroute_requests_in_flight ") == 6)
            refused = post("press")
            assert (refused.status_code, refused.json()["type"]) == (429, "urn:chromaroute:problem:too-many-requests")
            assert refused.headers["retry-after"] == "1"
            assert "last places are for other clients" in refused.json()["detail"]
            running += [pool.submit(post, name) for name in ("school", "museum")]
            wait_until(lambda: metric(client, "chromaroute_requests_in_flight ") == 8)
            for name in CLIENTS:
                refused = post(name)
                assert (refused.status_code, refused.json()["type"]) == (503, "urn:chromaroute:problem:overloaded")
                assert refused.headers["retry-after"] == "1"
            blocked.release.set()
            assert [future.result().status_code for future in running] == [200] * 8
        assert post("press").status_code == 200
        assert metric(client, 'chromaroute_refused_total{reason="client_limit"}') == 1


class Places:
    """The middleware around an application that keeps its place until it is told to end."""

    def __init__(self, max_requests: int) -> None:
        self.middleware = Admission(self._hold, max_requests, Metrics())
        self.end = asyncio.Event()
        self.error: BaseException | None = None
        self.running: list[asyncio.Task[int]] = []

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.end.wait()
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, address: str = "192.0.2.1", cost: Cost = Cost.PICTURE, method: str = "POST", key: str | None = None) -> int:
        """The status of a request."""
        status = 0

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        policy = RoutePolicy(cost=cost)
        scope = {"type": "http", "method": method, "policy": policy, "client": (address, 1), "headers": [], "key": key}
        await self.middleware(scope, receive, send)
        return status

    async def occupy(self, count: int, **options: str | Cost) -> None:
        """Start requests that keep their places."""
        self.running += [asyncio.create_task(self.ask(**options)) for _ in range(count)]  # type: ignore[arg-type]
        await asyncio.sleep(0)


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("end", ["success", "failure", "disconnect"])
def test_places_are_returned_however_a_request_ends(end: str) -> None:
    async def run() -> None:
        places = Places(8)
        for _ in range(3):
            await places.occupy(6)
            assert await places.ask() == 429
            places.error = ValueError("a failure") if end == "failure" else None
            if end == "disconnect":
                for task in places.running:
                    task.cancel()
            else:
                places.end.set()
            results = await asyncio.gather(*places.running, return_exceptions=True)
            expected = {"success": int, "failure": ValueError, "disconnect": asyncio.CancelledError}[end]
            assert [type(result) for result in results] == [expected] * 6
            places.running, places.error = [], None
            places.end.set()
            assert await places.ask() == 200
            places.end.clear()
        assert sum(places.middleware._in_flight.values()) == 0
        assert len(places.middleware._in_flight) <= 1  # and nothing is kept of clients that have left

    asyncio.run(run())


def test_clients_are_keys_or_addresses() -> None:
    async def run() -> None:
        places = Places(8)
        await places.occupy(6, key="press")
        assert await places.ask(key="press", address="192.0.2.2") == 429
        await places.occupy(1, key="school", address="192.0.2.1")
        await places.occupy(1, address="192.0.2.3")
        assert await places.ask(address="192.0.2.4") == 503

    asyncio.run(run())


def test_kinds_of_requests_have_places_of_their_own() -> None:
    async def run() -> None:
        places = Places(8)
        for cost, count in ((Cost.PICTURE, 6), (Cost.DOWNLOAD, 6), (Cost.VOTE, 6), (Cost.BATCH, 1)):
            await places.occupy(count, cost=cost)
            assert await places.ask(cost=cost) == (503 if cost is Cost.BATCH else 429)
        assert await places.ask(cost=Cost.DOWNLOAD, method="GET") == 429
        places.end.set()
        assert await asyncio.gather(*places.running) == [200] * 19
        for cost, method in ((Cost.FREE, "POST"), (Cost.FREE, "GET"), (Cost.PICTURE, "GET")):  # these take none
            places.end.clear()
            await places.occupy(20, cost=cost, method=method)
            assert sum(places.middleware._in_flight.values()) == 0
            places.end.set()
        assert set(await asyncio.gather(*places.running)) == {200}

    asyncio.run(run())


def test_few_places_can_all_be_used_by_one_client() -> None:
    async def run() -> None:
        places = Places(3)
        await places.occupy(3)
        assert await places.ask() == 503

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_downloads_of_jobs_take_places(method: str) -> None:
    for path, is_download in (
        ("/v1/jobs/x", False),
        ("/v1/jobs/x/result", True),
        ("/v1/jobs/x/result/0", True),
        ("/v1/jobs/x/events", True),
    ):
        policy = find_policy(router.routes, {"type": "http", "method": method, "path": path, "root_path": "", "headers": []})
        assert policy.takes_place(method) == is_download
        assert (policy.cost is Cost.DOWNLOAD) == is_download


class SlowTransfer:
    """A client that sends or reads a piece every 20 ms, through the middleware."""

    def __init__(self, piece: int, count: int) -> None:
        self.piece, self.count, self.left = piece, count, count

    async def receive(self) -> Message:
        await asyncio.sleep(0.02)
        self.left -= 1
        return {"type": "http.request", "body": bytes(self.piece), "more_body": self.left > 0}

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0.02)

    async def upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def download(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while self.left:
            self.left -= 1
            await send({"type": "http.response.body", "body": bytes(self.piece), "more_body": self.left > 0})

    def run(self, direction: str) -> None:
        """Transfer all pieces with a timeout of 0.2 s for each."""
        scope = {"type": "http", "method": "POST", "policy": RoutePolicy(cost=Cost.BATCH)}
        middleware = SlowClients(self.upload if direction == "upload" else self.download, 0.2, Metrics())
        asyncio.run(middleware(scope, self.receive, self.send))  # type: ignore[arg-type]


@pytest.fixture
def _low_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A least rate that a busy machine reaches, too."""
    monkeypatch.setattr(slow_clients, "MIN_RATE", 1000)


@pytest.mark.timing
@pytest.mark.usefixtures("_low_rate")
@pytest.mark.parametrize(("direction", "error"), [("upload", SlowClient), ("download", OSError)])
def test_transfer_below_the_least_rate_ends_though_every_piece_is_in_time(direction: str, error: type[Exception]) -> None:
    slow, start = SlowTransfer(piece=1, count=200), time.monotonic()
    with pytest.raises(error):
        slow.run(direction)
    assert 0.2 <= time.monotonic() - start < 1
    assert slow.left > 150
    fast = SlowTransfer(piece=1000, count=30)  # takes longer than the timeout in all
    fast.run(direction)
    assert fast.left == 0
