"""Clients that disconnect, stop sending, or do not read the response."""

import io
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from tests.server_process import Server, serving, wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timing]


@contextmanager
def send_without_reading(server: Server, path: str, field: str, files: Sequence[bytes]) -> Iterator[None]:
    """Send files over a connection with a small receive buffer, and keep it open without reading the response."""
    host, port = server.address.removeprefix("http://").split(":")
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n\r\n'.encode()
    body = b"".join(head + content + b"\r\n" for content in files) + b"--x--\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        headers = f"Host: {host}\r\nContent-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"POST {path} HTTP/1.1\r\n{headers}\r\n".encode() + body)
        yield


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


def test_stalled_batch_upload_is_408_and_frees_slot(cat: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, jobs=0, deadline=5, max_requests=8) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"POST /v1/colorize/batch HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode()
            )
            wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
            full = httpx2.post(f"{server.address}/v1/colorize/batch", files={"files": cat})
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")  # one request in eight may be a batch
            assert httpx2.post(f"{server.address}/v1/colorize", files={"file": cat}).status_code == 200
            with HTTPResponse(connection) as response:
                response.begin()
                assert response.status == 408
                assert b"slow-client" in response.read()
        assert httpx2.post(f"{server.address}/v1/colorize/batch", files={"files": cat}).status_code == 200


def test_unread_batch_response_frees_slot(cat: bytes, tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.effect_noise((1500, 1500), 80).save(big, "PNG")
    with (
        serving(tmp_path, jobs=0, deadline=1, max_requests=8) as server,
        send_without_reading(server, "/v1/colorize/batch", "files", [big.getvalue()] * 4),
    ):
        wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
        wait_until(lambda: "requests_in_flight 0.0" in httpx2.get(f"{server.address}/metrics").text)
        assert 'refused_total{reason="slow_client"} 1.0' in httpx2.get(f"{server.address}/metrics").text


def test_unread_picture_response_frees_slot(tmp_path: Path) -> None:
    big = io.BytesIO()
    Image.effect_noise((3000, 3000), 80).save(big, "PNG")
    with (
        serving(tmp_path, jobs=0, deadline=10, max_requests=1) as server,
        send_without_reading(server, "/v1/colorize", "file", [big.getvalue()]),
    ):
        wait_until(lambda: "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text)
        wait_until(lambda: 'stage_seconds_count{stage="encode"} 1.0' in httpx2.get(f"{server.address}/metrics").text)
        assert "requests_in_flight 1.0" in httpx2.get(f"{server.address}/metrics").text  # the response waits for its client
        wait_until(lambda: "requests_in_flight 0.0" in httpx2.get(f"{server.address}/metrics").text)
        assert 'refused_total{reason="slow_client"} 1.0' in httpx2.get(f"{server.address}/metrics").text
