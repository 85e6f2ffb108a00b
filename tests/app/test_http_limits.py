"""Limits on the size and the time of headers, and on connections that send nothing useful."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app import http_protocol
from app.main import create_app
from app.metrics import Metrics
from app.settings import Settings
from tests.server_process import Server, serving

KIB = 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), jobs=0) as server:
        yield server


def send(server: Server, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes; returns the status, the headers and the body that come before the server closes the connection."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        received = b""
        with suppress(ConnectionError):  # of a connection that the server closes while it is written to
            for piece in pieces:
                connection.sendall(piece)
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


@pytest.mark.server
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 100 * KIB + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx-large: " + b"a" * 100 * KIB + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"x-small: aaaaaaaaaa\r\n" * 5000 + b"\r\n",
    ],
    ids=["request line", "one header", "many headers"],
)
def test_large_headers_are_431(server: Server, request_bytes: bytes) -> None:
    status, headers, body = send(server, request_bytes)
    assert (status, headers["content-type"], headers["connection"]) == (431, "application/problem+json", "close")
    assert json.loads(body)["type"] == "urn:chromaroute:problem:headers-too-large"
    assert 'chromaroute_refused_total{reason="headers"}' in httpx2.get(f"{server.address}/metrics").text
    assert "request refused with 431" in server.log.read_text()
    assert int(headers["content-length"]) == len(body)


@pytest.mark.server
def test_headers_of_60_kib_are_accepted(server: Server) -> None:
    for path, headers in (("/livez?" + "a" * 60 * KIB, ""), ("/livez", f"x-large: {'a' * 60 * KIB}\r\n")):
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode()
        assert send(server, request)[0] == 200


@pytest.mark.server
def test_header_of_any_size_is_refused_at_the_limit_while_others_are_answered(server: Server) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nx-large: " + b"a" * 50 * KIB)
        assert httpx2.get(f"{server.address}/livez").status_code == 200
        sent = 50 * KIB
        with suppress(ConnectionError):
            while sent < 200 * KIB * KIB:
                connection.sendall(b"a" * 64 * KIB)
                sent += 64 * KIB
        assert sent < 20 * KIB * KIB  # what the buffers of the system hold
    assert httpx2.get(f"{server.address}/livez").status_code == 200


@pytest.mark.server
@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_request_for_an_upgrade_has_an_ordinary_answer_and_closes_the_connection(server: Server, protocol: str) -> None:
    upgrade = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
    start = time.monotonic()
    status, headers, body = send(server, f"GET /livez HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode(), b"\x81\x05hello")
    assert (status, headers["connection"], json.loads(body)) == (200, "close", {"status": "alive"})
    assert time.monotonic() - start < 4  # earlier than an idle connection
    assert "WebSocket library" not in server.log.read_text()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path, the headers and the body of the request; paths that begin with /early do not read the body."""
    body, more = b"", not scope["path"].startswith("/early")
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    names = b",".join(name for name, _ in scope["headers"])
    content = scope["path"].encode() + b" " + names + b" " + body + b"."
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(content)).encode())]})
    await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def listening(app: object = answer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ServerState]]:
    """A connection to a server with the protocol and a small application, and the state of the server."""
    protocol = http_protocol.http_protocol(Metrics())
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        async with asyncio.timeout(10):
            yield reader, writer, state
    finally:
        server.close()
        writer.transport.abort()
        await asyncio.sleep(0.02)


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> float:
    """The time for headers, shortened."""
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.3)
    return 0.3


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send a piece again and again."""
    with suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)


async def received_until_closed(*pieces: bytes, drips: bytes = b"", app: object = answer) -> tuple[bytes, float]:
    """What a server sends until it closes the connection, and the seconds until then."""
    async with listening(app) as (reader, writer, _):
        start = time.monotonic()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        dripping = asyncio.create_task(drip(writer, drips)) if drips else None
        received = b""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                received += data
        if dripping is not None:
            dripping.cancel()
        return received, time.monotonic() - start


@pytest.mark.timing
def test_headers_that_arrive_slowly_are_408(short_limit: float) -> None:
    received, seconds = asyncio.run(received_until_closed(b"GET / HTTP/1.1\r\n", drips=b"a: b\r\n"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:chromaroute:problem:slow-client"
    assert short_limit <= seconds < 4 * short_limit


@pytest.mark.timing
def test_connection_without_a_request_is_closed(short_limit: float) -> None:
    received, seconds = asyncio.run(received_until_closed())
    assert received == b""
    assert short_limit <= seconds < 4 * short_limit


@pytest.mark.timing
@pytest.mark.parametrize("junk", [b"\r\n", b"GET"], ids=["empty lines", "part of a request"])
def test_what_is_no_request_does_not_keep_a_connection_open_after_a_response(short_limit: float, junk: bytes) -> None:
    received, seconds = asyncio.run(received_until_closed(b"GET /a HTTP/1.1\r\n\r\n", junk))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert seconds < 4 * short_limit


@pytest.mark.timing
def test_body_that_goes_on_after_the_response_does_not_keep_the_connection_open(short_limit: float) -> None:
    head = b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    received, seconds = asyncio.run(received_until_closed(head, drips=b"a"))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert short_limit <= seconds < 4 * short_limit


@pytest.mark.timing
def test_response_that_is_not_read_does_not_keep_a_closed_connection_open(short_limit: float) -> None:
    async def give_up(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await send({"type": "http.response.body", "body": bytes(KIB * KIB), "more_body": True})

    async def run() -> None:
        async with listening(give_up) as (_, writer, state):
            writer.write(b"GET /a HTTP/1.1\r\n\r\n")
            await asyncio.sleep(0.2)
            assert state.connections
            await asyncio.sleep(3 * short_limit)
            assert not state.connections

    asyncio.run(run())


@pytest.mark.timing
def test_body_may_take_longer_than_headers(short_limit: float) -> None:
    head = b" HTTP/1.1\r\nConnection: keep-alive\r\nContent-Length: 10\r\n\r\n"

    async def run(*requests: bytes) -> bytes:
        async with listening() as (reader, writer, _):
            writer.writelines(requests)
            for _ in range(10):
                writer.write(b"a")
                await asyncio.sleep(0.08)
            return await reader.readuntil(b"aaaaaaaaaa.")

    assert asyncio.run(run(b"POST /a" + head))
    assert asyncio.run(run(b"GET /a HTTP/1.1\r\n\r\n", b"POST /b" + head)).count(b"200 OK") == 2  # pipelined


@pytest.mark.timing
def test_part_of_a_pipelined_request_does_not_interrupt_a_response(short_limit: float) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(2 * short_limit)
        await answer(scope, receive, send)

    received, _ = asyncio.run(received_until_closed(b"GET /a HTTP/1.1\r\n\r\nGET /b HT", app=slow))
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_connection_is_used_for_several_requests_one_after_another_or_pipelined() -> None:
    async def run() -> None:
        async with listening() as (reader, writer, _):
            for path in (b"/a", b"/b", b"/c"):
                writer.write(b"POST " + path + b" HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
                assert (await reader.readuntil(b" abc.")).endswith(path + b" content-length abc.")
            writer.writelines(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(4000))  # more than the limit of headers
            for number in range(4000):
                assert (await reader.readuntil(b"  .")).endswith(b"/%d  ." % number)

    asyncio.run(run())


def test_limit_counts_the_headers_of_each_request() -> None:
    head = b"GET /a HTTP/1.1\r\nx: " + b"a" * 40 * KIB + b"\r\n\r\n"

    async def run() -> None:
        async with listening() as (reader, writer, _):
            writer.write(head * 20)
            for _ in range(20):
                assert (await reader.readuntil(b"/a x .")).startswith(b"HTTP/1.1 200 OK")
            writer.write(head[:-4] + b"b" * 60 * KIB)
            assert (await reader.readuntil(b"headers-too-large")).startswith(b"HTTP/1.1 431")

    asyncio.run(run())


def test_trailers_are_ignored() -> None:
    body = b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\nx-other: y\r\n\r\n"
    request = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body

    async def run() -> None:
        async with listening() as (reader, writer, _):
            for _ in range(2):
                writer.write(request)
                assert (await reader.readuntil(b" abc.")).endswith(b"/a transfer-encoding abc.")

    asyncio.run(run())


def test_trailers_of_any_size_are_refused() -> None:
    async def run() -> int:
        sent = 0
        async with listening() as (_, writer, _):
            writer.write(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-large: ")
            with suppress(ConnectionError):
                while sent < 50 * KIB * KIB:
                    writer.write(b"a" * KIB * KIB)
                    await writer.drain()
                    sent += KIB * KIB
        return sent

    assert asyncio.run(run()) < 20 * KIB * KIB


@pytest.mark.timing
def test_batch_upload_that_drips_is_408() -> None:
    app = create_app(Settings(jobs=False, deadline=0.5))
    head = (
        b"POST /v1/colorize/batch HTTP/1.1\r\nContent-Length: 9999\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )

    async def run() -> bytes:
        async with listening(app) as (reader, writer, _):
            writer.write(head)
            dripping = asyncio.create_task(drip(writer, b"a"))
            received = await reader.readuntil(b"slow-client")
            dripping.cancel()
        app.state.engine.close()
        return received

    assert asyncio.run(run()).startswith(b"HTTP/1.1 408")
