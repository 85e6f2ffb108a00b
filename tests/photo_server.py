"""A local server of photographs and JSON, in place of the servers of sources."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

UNUSABLE = ("gray", "tiny", "broken", "page", "gone", "larger", "twice")


@dataclass
class PhotoServer:
    """Contents by path: `files`, `answers` (JSON, or a function from query and headers to JSON) and `redirects`.

    `failures` are status codes with which a path responds first. `requests` and `agents` record all requests.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    @contextmanager
    def serving(self) -> Iterator["PhotoServer"]:
        """Serve from a thread at `address`."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        yield self
        server.shutdown()
        thread.join()
        server.server_close()

    def reply(self, path: str, query: dict[str, list[str]], headers: Any) -> tuple[int, bytes]:
        """Status and body for a request."""
        self.requests.append(path)
        self.agents.add(headers["User-Agent"])
        if path in self.redirects:
            return 302, b""
        if self.failures.get(path):
            return self.failures[path].pop(0), b"not now"
        if path in self.answers:
            answer = self.answers[path]
            return 200, json.dumps(answer(query, headers) if callable(answer) else answer).encode()
        return (200, self.files[path]) if path in self.files else (404, b"gone")

    def openverse_page(self, query: dict[str, list[str]], _: object = None) -> dict[str, Any]:
        """Three results a page: the first and second picture, then all unusable ones, then the others."""
        names = ["0", "1", *UNUSABLE, *(str(index) for index in range(2, 10))]
        page = int(query["page"][0])
        results = [
            {
                "id": f"id-{name}", "title": f"Title {name}", "url": f"{self.address}/photo/{name}.jpg", "creator": "Ada",
                "license": "by", "license_version": "4.0", "license_url": "https://creativecommons.org/licenses/by/4.0/",
                "foreign_landing_url": f"https://example.org/{name}",
            }
            for name in names[3 * page - 3 : 3 * page]
        ]  # fmt: skip
        return {"page_count": -(-len(names) // 3), "results": results}


def _handler(photo_server: PhotoServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, content = photo_server.reply(parts.path, parse_qs(parts.query), self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status == 302:
                self.send_header("Location", photo_server.redirects[parts.path])
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
