"""What a Ray cluster costs: processor time and memory per request, against one process, on this machine.

    python bench/cluster.py

Nothing else should run. The processor time is that of the whole machine, without that of this program.
"""

import io
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cluster_process import serving_on_cluster
from tests.server_process import serving

CLIENTS = 8
REQUESTS = 240


def main() -> None:
    """Print a table."""
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).convert("L").resize((1024, 768)).save(buffer, "JPEG", quality=90)
    print("service          start s   p50 ms   requests/s   CPU ms a request   memory MiB")
    for name, start in (("one process", serving), ("Ray, 1 + 1", serving_on_cluster)):
        with tempfile.TemporaryDirectory() as folder:
            before, began = used_mib(), time.monotonic()
            with start(Path(folder)) as server:
                started = time.monotonic() - began
                load(server.address, buffer.getvalue(), 40)
                busy, own, began = busy_seconds(), own_seconds(), time.monotonic()
                times = load(server.address, buffer.getvalue(), REQUESTS)
                seconds = time.monotonic() - began
                cpu = (busy_seconds() - busy) - (own_seconds() - own)
                print(
                    f"{name:<15} {started:8.1f} {1000 * statistics.median(times):8.0f} {REQUESTS / seconds:12.1f} "
                    f"{1000 * cpu / REQUESTS:18.0f} {used_mib() - before:12.0f}"
                )


def load(address: str, picture: bytes, count: int) -> list[float]:
    """The seconds of each of `count` requests of several clients."""
    with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def request(_: int) -> float:
            began = time.monotonic()
            client.post("/v1/colorize", files={"file": picture}).raise_for_status()
            return time.monotonic() - began

        return list(pool.map(request, range(count)))


def busy_seconds() -> float:
    """Processor time of the machine that was used, in seconds."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / 100


def own_seconds() -> float:
    """Processor time of this program."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def used_mib() -> float:
    """Memory of the machine that is not available."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return float(np.subtract(*(int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable")))) / 1024


if __name__ == "__main__":
    main()
