"""Starts the service as a process, for tests that kill it, put load on it, or observe it from outside."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class Server:
    """A running `chromaroute serve`."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory_mib(self) -> float:
        """The resident memory of the server and its decoding processes."""
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")  # of each thread
        children = [name for path in lists for name in path.read_text().split()]
        statuses = [Path(f"/proc/{name}/status").read_text() for name in (str(self.process.pid), *children)]
        return sum(int(match[1]) for status in statuses if (match := re.search(r"VmRSS:\s+(\d+)", status))) / 1024


@contextmanager
def serving(folder: Path, *arguments: str, port: int | None = None, **variables: object) -> Iterator[Server]:
    """Start a server in a folder with CHROMAROUTE_* variables; the context stops it unless it has ended before."""
    port = port or free_port()
    settings = {f"CHROMAROUTE_{name.upper()}": str(value) for name, value in variables.items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CHROMAROUTE_DRAIN": "0", **settings}
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(port), *arguments]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=log)
    server = Server(f"http://127.0.0.1:{port}", process, folder / "log")

    def ready() -> bool:
        assert process.poll() is None, server.log.read_text()
        try:
            return urllib.request.urlopen(f"{server.address}/readyz").status == 200  # type: ignore[no-any-return]
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_until(ready)
        yield server
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM, -signal.SIGKILL)


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Poll a condition; the test fails if it is not met in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.05)


def parse_events(text: str) -> list[dict[str, str]]:
    """The server-sent events in the text of a stream."""
    blocks = [block for block in text.replace("\r", "").split("\n\n") if "data:" in block]
    return [dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":")) for block in blocks]
