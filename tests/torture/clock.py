"""Lets the clock of the server jump while a job runs and after it has ended, and checks that nothing is lost.

python tests/torture/clock.py

Needs Debian's package `libfaketime`, which leaves the dates of files as they are, as those of another clock. The clock jumps by an
hour or two days, forward or back. A job that runs must be finished with all pictures, and its webhook delivered, also where the
first attempt fails and the clock jumps before the second. A finished job may expire earlier or later by the jump.
"""

import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.app.webhook_receiver import SECRET, Receiver  # noqa: E402
from tests.server_process import Server, serving  # noqa: E402
from tests.torture.kills import archive  # noqa: E402

ITEMS, HOUR = 60, 3600
JUMPS = (HOUR, 48 * HOUR, -HOUR, -48 * HOUR)
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class Clock:
    """The clock of a server, and what was found."""

    def __init__(self, folder: Path) -> None:
        self.file, self.faults = folder / "clock", list[str]()
        self.folder = folder
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Let the server see a time that differs from that of this process."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+}")
        new.rename(self.file)
        self.offset = seconds

    @contextmanager
    def server(self, receiver: Receiver, hours: int) -> Iterator[Server]:
        """A server with this clock, which keeps results for some hours."""
        added = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1"}
        added |= {"DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        os.environ |= added
        webhooks = {"webhook_origins": receiver.origin, "webhook_secret": SECRET, "webhook_private": 1}
        try:
            with serving(self.folder, job_hours=hours, **webhooks) as server:
                for name in added:
                    del os.environ[name]
                yield server
        finally:
            for name in added:
                os.environ.pop(name, None)

    def expect(self, what: str, condition: bool) -> None:
        """Record what is not as it should be."""
        print(f"{self.offset:+8} {what}: {condition}", flush=True)
        if not condition:
            self.faults.append(f"{self.offset:+} s: {what}")


def until(condition, seconds: float) -> bool:  # type: ignore[no-untyped-def]
    """Whether a condition is met in time."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return bool(met)


def post(server: Server, webhook: str) -> str:
    """The path of a new job."""
    answer = httpx2.post(f"{server.address}/v1/jobs", files={"archive": archive(ITEMS)}, data={"webhook": webhook}, timeout=60)
    return f"{server.address}{answer.headers['location']}"


def check_running(clock: Clock, server: Server, receiver: Receiver, jump: int) -> None:
    """The clock jumps while a job runs, and again between two attempts of its webhook."""
    receiver.reset()
    receiver.statuses.append(500)  # to the first attempt
    hook = f"/{jump}"
    path = post(server, receiver.origin + hook)
    until(lambda: httpx2.get(path).json()["done"] > 3, 60)
    clock.jump(jump)
    clock.expect("a running job is finished", until(lambda: httpx2.get(path).json()["state"] == "finished", 600))
    status = httpx2.get(path).json()
    clock.expect("no picture has a problem", status["done"] == ITEMS)
    with zipfile.ZipFile(BytesIO(httpx2.get(f"{path}/result").content)) as result:
        clock.expect(
            "every picture is there", len(json.loads(result.read("decisions.json"))) == ITEMS == len(result.namelist()) - 1
        )
    until(lambda: receiver.calls_to(hook), 30)
    clock.jump(0)  # by as much in the other direction
    clock.expect("the webhook is delivered", until(lambda: httpx2.get(path).json().get("webhook") == "delivered", 60))
    clock.expect("in the second attempt", len(receiver.calls_to(hook)) == 2)


def check_finished(clock: Clock, server: Server, receiver: Receiver, jump: int) -> None:
    """The clock jumps after a job has ended."""
    path = post(server, f"{receiver.origin}/done")
    until(lambda: httpx2.get(path).json().get("webhook") == "delivered", 600)
    clock.jump(jump)
    gone = until(lambda: httpx2.get(path).status_code == 404, 20)
    clock.expect(f"a finished job is {'deleted' if gone else 'kept'}", gone == (jump == 48 * HOUR))
    clock.jump(0)
    clock.expect("as before after the jump back", gone == (httpx2.get(path).status_code == 404))


def main() -> None:
    """Let the clock jump, and print what was found."""
    with tempfile.TemporaryDirectory() as name, Receiver().serving() as receiver:
        clock = Clock(Path(name))
        for check, hours in ((check_running, 100), (check_finished, 24)):
            with clock.server(receiver, hours) as server:
                for jump in JUMPS:
                    check(clock, server, receiver, jump)
        log = [line for line in (Path(name) / "log").read_text().splitlines() if "ERROR" in line or "Traceback" in line]
    print(json.dumps({"faults": clock.faults, "log": log[:20]}, indent=1))
    sys.exit(bool(clock.faults or log))


if __name__ == "__main__":
    main()
