"""Cuts the server off from PostgreSQL, or stops PostgreSQL, while a job runs, and checks that nothing is lost and nobody waits.

python tests/torture/database.py [--rounds 20] [--seed 0] [--faults stalled ...]

A random fault happens at a random moment of each job, for 1 to 30 seconds. Connections are `stalled` (what is sent arrives later),
`swallowed` (it is lost, and the connection is reset afterwards), `refused`, `reset` again and again, or `unacknowledged` (reset
when something is committed, mostly); PostgreSQL is `paused` or `restarted`. The server gets SIGTERM during some faults.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.app.archives import tiny_picture  # noqa: E402
from tests.server_process import Server, free_port, serving  # noqa: E402
from tests.torture.kills import archive  # noqa: E402

ITEMS, FINISHED, GIVEN_UP, PROMPT, SHUTDOWN = (
    100,
    60,
    150,
    2,
    30,
)  # pictures; seconds of a job after the fault, of answers, of SIGTERM
FAULTS = ("stalled", "swallowed", "refused", "reset", "unacknowledged", "paused", "restarted")
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"))
Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]  # to the client and to PostgreSQL


class Proxy:
    """Forwards connections to PostgreSQL, in a thread, as the fault allows."""

    def __init__(self, target: int) -> None:
        self.target, self.port, self.fault = target, free_port(), ""
        self._lost: dict[Pair, bool] = {}  # whether a connection has lost something
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()

    async def _serve(self) -> None:
        await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        while True:
            await asyncio.sleep(0.02)
            for pair, lost in list(self._lost.items()):
                if (lost and not self.fault) or self.fault == "refused" or (self.fault == "reset" and random.random() < 0.02):
                    self._reset(pair)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", 0 if self.fault == "refused" else self.target)
        except OSError:
            return writer.transport.abort()
        self._lost[writer, server] = False
        await asyncio.gather(self._pump(reader, (writer, server), 1), self._pump(answers, (writer, server), 0))
        self._lost.pop((writer, server), None)

    async def _pump(self, reader: asyncio.StreamReader, pair: Pair, side: int) -> None:
        try:
            while content := await reader.read(65_536):
                while self.fault == "stalled":
                    await asyncio.sleep(0.02)
                if self.fault == "swallowed" or self._lost.get(pair, True):
                    self._lost[pair] = True
                    continue
                pair[side].write(content)
                if self.fault == "unacknowledged" and side == 1 and b"COMMIT" in content and random.random() < 0.6:
                    self._lost[pair] = True
                    await asyncio.sleep(0.1)  # until it is committed
                    self._reset(pair)
            pair[side].close()
        except OSError:
            self._reset(pair)

    def _reset(self, pair: Pair) -> None:
        self._lost.pop(pair, None)
        for writer in pair:
            if (sock := writer.get_extra_info("socket")).fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Rounds:
    """A PostgreSQL server, whose folder is given, rounds, and what was found."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.port, self.random = folder, free_port(), random.Random(seed)
        self.faults, self.codes, self.slowest = list[str](), Counter[str](), defaultdict[str, float](float)
        self.proxy, self.archive, self.done, self.ended = Proxy(self.port), archive(ITEMS), 0, False
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        self.run("initdb", "--auth=trust", "--username=chromaroute")
        self.start()

    def run(self, program: str, *arguments: object) -> None:
        """Run a program of PostgreSQL, which refuses to run as root."""
        user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        command = [PROGRAMS / program, "-D", self.folder / "data", *map(str, arguments)]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **user)  # type: ignore[call-overload]

    def start(self) -> None:
        """Start PostgreSQL."""
        self.run("pg_ctl", "start", "-w", "-l", self.folder / "log", "-o", f"-p {self.port} -k {self.folder}")

    def set_fault(self, kind: str, begins: bool) -> None:
        """A fault begins or ends."""
        if kind == "restarted":
            self.run("pg_ctl", "stop", "-m", "immediate") if begins else self.start()
        elif kind == "paused":
            parent = (self.folder / "data/postmaster.pid").read_text().split()[0]
            for process in (parent, *Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
                os.kill(int(process), signal.SIGSTOP if begins else signal.SIGCONT)
        else:
            self.proxy.fault = kind if begins else ""

    def ask(self, server: Server, name: str, path: str, **files: bytes) -> httpx2.Response:
        """An answer, which must be a success; at once, if there is no upload."""
        start = time.monotonic()
        response = httpx2.request("POST" if files else "GET", f"{server.address}{path}", files=files or None, timeout=120)
        self.note(name, took := time.monotonic() - start, 20 if files else PROMPT)
        self.codes[f"{name} {response.status_code}"] += 1
        if response.status_code not in (200, 202):
            self.faults.append(f"{self.what}: {name} {response.status_code} after {took:.1f} s: {response.text[:80]}")
        return response

    def note(self, name: str, seconds: float, limit: float) -> None:
        """Record how long something took."""
        self.slowest[name] = max(self.slowest[name], round(seconds, 1))
        if seconds > limit:
            self.faults.append(f"{self.what}: {name} took {seconds:.1f} s")

    def round(self, server: Server, kind: str) -> None:
        """A job with a fault."""
        seconds, self.ended = self.random.uniform(1, 30), self.random.random() < 0.25
        self.what = f"{self.done}, {seconds:.0f} s {kind}{', SIGTERM' if self.ended else ''}"
        self.job = f"/v1/jobs/{self.ask(server, 'add', '/v1/jobs', archive=self.archive).json()['id']}"
        time.sleep(self.random.uniform(0, 4))
        self.set_fault(kind, begins=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.ask(server, "ready", "/readyz")
            self.ask(server, "status", self.job)
            self.ask(server, "colorize", "/v1/colorize", file=tiny_picture())
            time.sleep(0.5)
        if self.ended:
            server.process.terminate()
            server.process.wait(120)
            self.note("shutdown", time.monotonic() - end, SHUTDOWN)
        self.set_fault(kind, begins=False)
        self.healed = time.monotonic()

    def check(self, server: Server) -> None:
        """The job is finished in time, with every picture."""
        while (status := self.ask(server, "status", self.job).json())["state"] != "finished":
            if time.monotonic() > self.healed + GIVEN_UP:
                self.faults.append(f"{self.what}: the job hangs: {status}")
                break
            time.sleep(0.2)
        else:
            content = httpx2.get(f"{server.address}{self.job}/result", timeout=120).content
            with zipfile.ZipFile(BytesIO(content)) as result:
                records, outputs = json.loads(result.read("decisions.json")), set(result.namelist()) - {"decisions.json"}
                if not len(records) == len(outputs) == status["done"] == ITEMS or result.testzip():
                    self.faults.append(f"{self.what}: {len(records)} records, {len(outputs)} outputs, {status}")
        self.note("finished", took := time.monotonic() - self.healed, FINISHED)
        print(f"{self.what}: finished {took:.1f} s after it", flush=True)
        self.done, self.ended = self.done + 1, False


def main() -> None:
    """Run the rounds, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as database:
        rounds = Rounds(Path(database), arguments.seed)
        try:
            while rounds.ended or rounds.done < arguments.rounds:
                url = f"postgresql://chromaroute@127.0.0.1:{rounds.proxy.port}/postgres"
                with serving(Path(name), database=url, replica="one") as server:
                    if rounds.ended:
                        rounds.check(server)
                    while rounds.done < arguments.rounds and not rounds.ended:
                        rounds.round(server, rounds.random.choice(arguments.faults))
                        if not rounds.ended:
                            rounds.check(server)
        finally:
            rounds.run("pg_ctl", "stop", "-m", "immediate")
        log = [line for line in (Path(name) / "log").read_text().splitlines() if "ERROR" in line or "Traceback" in line]
    print(
        json.dumps(
            {"rounds": rounds.done, "answers": rounds.codes, "slowest": rounds.slowest, "faults": rounds.faults, "log": log},
            indent=1,
        )
    )
    sys.exit(bool(rounds.faults))


if __name__ == "__main__":
    main()
