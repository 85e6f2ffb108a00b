"""Mixed traffic above capacity, for as long as you like: nothing may be lost, hang, or grow.

    python tests/torture/traffic.py [--minutes 120] [--load 1.2] [--out traffic.json]

It starts a server, measures how many pictures a second it colorizes, and then sends that many times `--load`: single pictures of
several formats, some of them damaged, batches, jobs with their events and results, clients that hang up, and clients that read or
send slowly. Fails if an answer is neither 2xx nor a documented refusal, if a refusal for overload has no `Retry-After`, if a job
loses a picture, or if the memory of the second half is above that of the first by a tenth and 50 MiB.
"""

import argparse
import asyncio
import io
import json
import random
import statistics
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import httpx2
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.server_process import Server, parse_events, serving  # noqa: E402

BATCH, JOB = 3, 4  # pictures
OVERLOADED = (429, 503)
REFUSED = (413, 415, 422)  # what is sent damaged


def pictures() -> list[bytes]:
    """Pictures of several formats and sizes, and damaged ones."""
    contents = []
    for size in (320, 800, 1024):
        noise = Image.effect_noise((size, size * 3 // 4), 60)
        for format in ("JPEG", "PNG", "WEBP", "TIFF"):
            buffer = io.BytesIO()
            noise.save(buffer, format)
            contents.append(buffer.getvalue())
    return [*contents, b"no picture", contents[0][: len(contents[0]) // 2]]


class Traffic:
    """Sends requests to a server and keeps what came of them."""

    def __init__(self, server: Server, client: httpx2.AsyncClient) -> None:
        self.server, self.client = server, client
        self.contents, self.random = pictures(), random.Random(0)
        self.codes: dict[str, Counter[int]] = defaultdict(Counter)
        self.seconds: list[float] = []  # of single pictures that were colorized
        self.faults: list[str] = []
        self.memory: list[float] = []
        self.pictures = 0

    async def single(self) -> None:
        """One picture."""
        start = time.monotonic()
        response = await self.client.post("/v1/colorize", files={"file": self.random.choice(self.contents)})
        if self.check("single", response):
            self.seconds.append(time.monotonic() - start)
            self.pictures += 1

    async def batch(self) -> None:
        """A batch, whose archive is complete."""
        files = [("files", (f"{index}.jpg", self.contents[index])) for index in range(BATCH)]
        response = await self.client.post("/v1/colorize/batch", files=files)
        if self.check("batch", response):
            self.pictures += BATCH
            if len(zipfile.ZipFile(io.BytesIO(response.content)).namelist()) != BATCH + 1:
                self.faults.append("a batch lost pictures")

    async def job(self) -> None:
        """A job, its events and its result."""
        files = [("files", (f"{index}.jpg", self.contents[index])) for index in range(JOB)]
        response = await self.client.post("/v1/jobs", files=files)
        if not self.check("job", response):
            return
        path = f"/v1/jobs/{response.json()['id']}"
        for _ in range(100):
            events = await self.client.get(f"{path}/events")
            if self.check("events", events) and parse_events(events.text)[-1]["event"] == "end":
                break
            await asyncio.sleep(1)
        else:  # the server was too busy for the events all the time
            self.check("delete", await self.client.delete(path))
            return
        result = await self.client.get(f"{path}/result")
        if self.check("result", result):
            self.pictures += JOB
            if len(zipfile.ZipFile(io.BytesIO(result.content)).namelist()) != JOB + 1:
                self.faults.append("a job lost pictures")
        self.check("delete", await self.client.delete(path))

    async def raw(self, share: float, pause: float) -> None:
        """A client that sends a part of a request, or all of it slowly, and then leaves."""
        body = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + self.contents[0] + b"\r\n--b--\r\n"
        head = (
            f"POST /v1/colorize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}"
        )
        content = head.encode() + b"\r\n\r\n" + body
        host, port = self.server.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for start in range(0, int(len(content) * share), 16_384):
                writer.write(content[start : start + 16_384])
                await writer.drain()
                await asyncio.sleep(pause)
            if share == 1 and pause:
                for _ in range(20):
                    await reader.read(4096)
                    await asyncio.sleep(pause)
        except ConnectionError:
            pass
        finally:
            writer.close()
        self.codes["left"][0] += 1

    def check(self, kind: str, response: httpx2.Response) -> bool:
        """Count an answer; whether it is a success."""
        code = response.status_code
        self.codes[kind][code] += 1
        if code in OVERLOADED and "retry-after" not in response.headers:
            self.faults.append(f"{kind}: {code} without Retry-After")
        if code >= 300 and code not in (*OVERLOADED, *REFUSED, 504):
            self.faults.append(f"{kind}: {code} {response.text[:200]}")
        return code < 300

    async def run(self, rate: float, seconds: float) -> None:
        """Send at a rate of pictures a second, whether answers have come or not."""
        kinds = [(0.76, self.single), (0.08, self.batch), (0.06, self.job)]
        kinds += [(0.04, lambda: self.raw(0.5, 0)), (0.04, lambda: self.raw(1, 0)), (0.02, lambda: self.raw(1, 0.5))]
        share = 0.76 + 0.08 * BATCH + 0.06 * JOB + 0.06
        tasks: set[asyncio.Task[None]] = set()
        end = time.monotonic() + seconds
        sampled = 0.0
        while time.monotonic() < end:
            kind = self.random.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]
            task = asyncio.create_task(self.guarded(kind))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if time.monotonic() > sampled + 5:
                sampled = time.monotonic()
                self.memory.append(self.server.memory_mib)
            await asyncio.sleep(self.random.expovariate(rate / share))
        await asyncio.wait(tasks, timeout=180)
        if tasks:
            self.faults.append(f"{len(tasks)} requests did not end")

    async def guarded(self, kind) -> None:  # type: ignore[no-untyped-def]
        """Record what goes wrong on the side of the client."""
        try:
            await kind()
        except httpx2.HTTPError as error:
            self.faults.append(f"{kind}: {error!r}")


async def capacity(client: httpx2.AsyncClient, content: list[bytes]) -> float:
    """Pictures a second, with eight clients."""
    done, end = 0, time.monotonic() + 15

    async def one() -> None:
        nonlocal done
        while time.monotonic() < end:
            await client.post("/v1/colorize", files={"file": content[done % 12]})
            done += 1

    await asyncio.gather(*(one() for _ in range(8)))
    return done / 15


async def measure(server: Server, minutes: float, load: float) -> dict[str, object]:
    """Send traffic, and return what was found."""
    limits = httpx2.Limits(max_connections=400, keepalive_expiry=3)  # before the server closes idle connections
    async with httpx2.AsyncClient(base_url=server.address, timeout=120, limits=limits) as client:
        traffic = Traffic(server, client)
        rate = await capacity(client, traffic.contents)
        start = time.monotonic()
        await traffic.run(rate * load, minutes * 60)
        took = time.monotonic() - start
    await asyncio.sleep(5)
    half = len(traffic.memory) // 2
    first, second = (statistics.median(part) for part in (traffic.memory[2:half], traffic.memory[half:]))
    if second > first * 1.1 + 50:
        traffic.faults.append(f"the memory grows: {first:.0f} MiB in the first half, {second:.0f} in the second")
    times = sorted(traffic.seconds)
    return {
        "minutes": round(took / 60, 1),
        "capacity": round(rate, 1),
        "colorized a second": round(traffic.pictures / took, 1),
        "codes": {kind: dict(codes) for kind, codes in traffic.codes.items()},
        "seconds of single pictures": {"p50": times[len(times) // 2], "p95": times[int(len(times) * 0.95)], "most": times[-1]},
        "memory in MiB": {"first half": first, "second half": second, "most": max(traffic.memory), "after": server.memory_mib},
        "faults": dict(Counter(traffic.faults)),
    }


def errors_in(log: str, context: int = 40) -> list[str]:
    """The lines of a log that report errors, and some that follow."""
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if "ERROR" in line or line.startswith("Traceback")]
    return [
        lines[number] for number in sorted({each for start in starts for each in range(start, min(len(lines), start + context))})
    ]


def main() -> None:
    """Start a server, send traffic, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--load", type=float, default=1.2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), deadline=30) as server:
        found = asyncio.run(measure(server, arguments.minutes, arguments.load))
        log = errors_in(server.log.read_text())
    found["errors in the log"] = log[:200]
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    sys.exit(bool(found["faults"] or log))


if __name__ == "__main__":
    main()
