"""A receiver of webhooks, and a service that may call it."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from fastapi.testclient import TestClient

from app.jobs.folder import JobFolder
from app.jobs.queue import JobQueue
from app.main import create_app
from app.settings import Settings
from tests.app.archives import tiny_picture

PICTURE = tiny_picture()
KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass(frozen=True)
class Call:
    """A request that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    def check_signature(self) -> dict[str, Any]:
        """The content, whose signature is computed here as the specification says."""
        assert abs(time.time() - int(self.headers["webhook-timestamp"])) < 60
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert f"v1,{expected}" in self.headers["webhook-signature"].split(" ")
        return json.loads(self.body)  # type: ignore[no-any-return]


@dataclass
class Receiver:
    """A server that is called. It answers with the `statuses` first, and then with 204."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    delay: float = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calls_to(self, path: str) -> list[Call]:
        """The requests for a path."""
        return [call for call in self.calls if call.path == path]

    @contextmanager
    def serving(self, tls: ssl.SSLContext | None = None) -> Iterator["Receiver"]:
        """Serve from a thread."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def reset(self) -> None:
        """Forget everything."""
        self.calls.clear()
        self.statuses.clear()
        self.delay = 0


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.calls.append(Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(receiver.delay)
            status = receiver.statuses.pop(0) if receiver.statuses else 204
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{receiver.origin}/redirected")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def service_with_webhooks(folder: Path, receiver: Receiver) -> Iterator[TestClient]:
    """A service that may call the receiver."""
    settings = Settings(data_dir=folder, webhook_origins=(receiver.origin,), webhook_secret=SECRET, webhook_private=True)
    with TestClient(create_app(settings)) as client:
        yield client


def post_with_webhook(client: TestClient, webhook: str, pictures: int = 1, **headers: str) -> httpx2.Response:
    """Send a job with a webhook."""
    files = [("files", (f"{index}.png", PICTURE)) for index in range(pictures)]
    return client.post("/v1/jobs", files=files, data={"webhook": webhook}, headers=headers)


def webhook_state(client: TestClient, path: str) -> str:
    """Whether the webhook of a job was delivered."""
    return str(client.get(path).json()["webhook"])


def folder_of(client: TestClient, path: str) -> JobFolder:
    """The folder of a job."""
    jobs: JobQueue = client.app.state.jobs  # type: ignore[attr-defined]
    job = jobs.find(path.rpartition("/")[2], None)
    assert job is not None
    return job
