"""What a picture costs by its size: processor time and bytes, and whether the rate that follows from them is reached.

    python bench/capacity.py

Nothing else should run. The processor time is that of the server and its decoding processes; the prediction also counts that of the
clients, which share the cores.
"""

import io
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.server_process import serving

MEGAPIXELS = (1, 3, 12, 24, 48)
PICTURES = 240  # megapixels of all pictures of a size, about, and at least 10 pictures
CLIENTS = 4
GRAIN = 6  # levels, of scanned film


def main() -> None:
    """Print a table and the line that fits it."""
    print("megapixels   CPU ms   MB in   MB out   pictures/s of all cores   predicted")
    sizes, times = [], []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), jobs=0) as server:
        for megapixels in MEGAPIXELS:
            content, count = picture(megapixels), max(10, PICTURES // megapixels)
            send(server.address, content, 4)
            before, own, began = cpu_seconds(server.process.pid), time.process_time(), time.monotonic()
            out = send(server.address, content, count)
            seconds, cpu = time.monotonic() - began, cpu_seconds(server.process.pid) - before
            predicted = len(os.sched_getaffinity(0)) * count / (cpu + time.process_time() - own)
            print(
                f"{megapixels:10} {1000 * cpu / count:8.0f} {len(content) / 1e6:7.2f} {out / count / 1e6:8.2f} "
                f"{count / seconds:25.2f} {predicted:11.2f}"
            )
            sizes.append(megapixels)
            times.append(1000 * cpu / count)
    slope, constant = np.polyfit(sizes, times, 1, w=1 / np.array(times))
    print(f"{constant:.0f} ms and {slope:.1f} ms a megapixel")


def picture(megapixels: int) -> bytes:
    """A gray photograph of 4:3 with grain, as JPEG."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    gray = Image.fromarray(data.astronaut()).convert("L").resize((width, width * 3 // 4), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, GRAIN, (gray.height, gray.width)).astype(np.float32)
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(gray) + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def send(address: str, content: bytes, count: int) -> int:
    """Send a picture so often, by several clients; the bytes of all answers."""
    with httpx.Client(base_url=address, timeout=300) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def request(_: int) -> int:
            return len(client.post("/v1/colorize", files={"file": content}).raise_for_status().content)

        return sum(pool.map(request, range(count)))


def cpu_seconds(process: int) -> float:
    """Processor time of a process, its descendants, and those children of theirs that have ended."""
    total, family = 0.0, {process}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):  # parents before children
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()  # from the third on, as proc(5) counts them
            if int(folder.name) in family or int(fields[1]) in family:
                family.add(int(folder.name))
                total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
