"""Measures the service and prints a table with targets: `make bench`. The machine should have no other work.

    python bench/service.py [--json bench.json] [--quick]

Things that are compared are measured in turn, and values are medians. Everything runs with the embedded bundle on this machine:
the networks alone, a server with one client and with several, a plain pipeline of other libraries, the page, and the command line.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import color, data

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.load import client, form_body, send  # noqa: E402
from bench.page import measure_page  # noqa: E402
from models.bundle import load_bundle  # noqa: E402
from models.colorizers.zhang import Zhang  # noqa: E402
from models.engine_options import EngineOptions, default_cache_dir, usable_cores  # noqa: E402
from models.ensemble import Ensemble  # noqa: E402
from models.imaging import Picture  # noqa: E402
from models.loading import load_ensemble  # noqa: E402
from models.openvino_export import convert  # noqa: E402
from models.openvino_runtime import Core  # noqa: E402
from models.torch_networks import TorchEnsemble  # noqa: E402
from tests.server_process import Server, serving  # noqa: E402

SMALL, LARGE, HUGE = (1024, 768), (4000, 3000), (11_547, 8_660)
HEADERS = {"Content-Type": "multipart/form-data; boundary=load"}
TICK = 1000 / os.sysconf("SC_CLK_TCK")  # milliseconds


@dataclass
class Row:
    """A line of the table."""

    what: str
    value: float
    unit: str
    target: str = ""


def picture(size: tuple[int, int], format: str) -> bytes:
    """A photograph of this size, with some grain."""
    gray = np.asarray(Image.fromarray(data.astronaut()).convert("L").resize(size, Image.Resampling.LANCZOS)).astype(float)
    noisy = gray + np.random.default_rng(0).normal(0, 3, gray.shape)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, format, **({"quality": 90} if format == "JPEG" else {}))
    return buffer.getvalue()


def in_turn(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float, float]]:
    """The median and the 95th percentile of milliseconds by the clock, and the median of those of the processor."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(repeats + 2):
        for name, work in works.items():
            time.sleep(0.02)  # until the threads of the work before have stopped waiting for more
            start, processor = time.perf_counter(), time.process_time()
            work()
            times[name].append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - processor)))
    found = {}
    for name, pairs in times.items():
        clock, used = (sorted(values) for values in zip(*pairs[2:], strict=True))
        found[name] = statistics.median(clock), clock[int(len(clock) * 0.95)], statistics.median(used)
    return found


def processes(server: Server) -> list[int]:
    """The server and its decoding processes."""
    lists = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [server.process.pid, *(int(name) for path in lists for name in path.read_text().split())]


def used_ms(server: Server) -> float:
    """The processor time of the server until now."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes(server)]
    return sum(int(each[11]) + int(each[12]) for each in fields) * TICK


def memory_mib(server: Server) -> float:
    """The proportional set size of the server."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes(server)]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in texts) / 1024


@contextmanager
def peak_memory(server: Server) -> Iterator[list[float]]:
    """The largest memory within the block."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], memory_mib(server))

    thread = threading.Thread(target=watch)
    thread.start()
    yield peak
    ended.set()
    thread.join()


def plain_pipeline(content: bytes, ensemble: Ensemble) -> None:
    """What a user would write: Pillow, CIELAB by scikit-image, the networks in torch, Pillow."""
    gray = Image.open(io.BytesIO(content)).convert("L")
    ab, _ = ensemble.predict(Picture(np.asarray(gray), None, "jpeg"))
    planes = [np.asarray(Image.fromarray(plane).resize(gray.size, Image.Resampling.BILINEAR)) for plane in ab[0]]
    L = color.rgb2lab(np.asarray(gray.convert("RGB")))[..., 0]
    rgb = color.lab2rgb(np.dstack((L, *planes)))
    Image.fromarray((rgb * 255).round().astype(np.uint8)).save(io.BytesIO(), "JPEG", quality=90)


def measure_networks(repeats: int) -> tuple[list[Row], dict[str, float], Ensemble]:
    """The networks alone."""
    torch_ensemble, fast = TorchEnsemble(load_bundle()), load_ensemble(options=EngineOptions("openvino"))
    pictures = {size: Picture(np.asarray(Image.open(io.BytesIO(picture(size, "JPEG")))), None, "jpeg") for size in (SMALL, LARGE)}
    core = Core()
    core.set_property("CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"})
    L = np.full((1, 1, 256, 256), 50, np.float32)
    published = core.compile_model(convert(Zhang(), (torch.from_numpy(L),)), "CPU")
    found = in_turn(
        {
            "torch": lambda: torch_ensemble.predict(pictures[SMALL]),
            "openvino": lambda: fast.predict(pictures[SMALL]),
            "large": lambda: fast.predict(pictures[LARGE]),
            "published": lambda: published(L),
        },
        repeats,
    )
    alone = {"small": found["openvino"][0], "large": found["large"][0], "large processor": found["large"][2]}
    rows = [
        Row("networks alone, 0.8 megapixels", alone["small"], "ms"),
        Row("torch float32 / OpenVINO", found["torch"][0] / alone["small"], "times", "2.5"),
        Row("ECCV16 at 256 px / route and color, both in OpenVINO", found["published"][0] / alone["small"], "times", "20"),
    ]
    return rows, alone, torch_ensemble


def measure_server(folder: Path, repeats: int, alone: dict[str, float], reference: Ensemble) -> list[Row]:
    """One server: single pictures, memory, and several clients."""
    bodies = {name: form_body(picture(size, format)) for name, size, format in (
        ("small", SMALL, "JPEG"), ("large", LARGE, "JPEG"), ("png", LARGE, "PNG"), ("huge", HUGE, "JPEG"))}  # fmt: skip
    rows = []
    with serving(folder, jobs=0, cache_dir=default_cache_dir()) as server:
        time.sleep(4)
        rows.append(Row("memory at rest (proportional set size)", memory_mib(server), "MiB", "250"))
        work = {name: lambda body=body: send(server.address, body, HEADERS) for name, body in bodies.items()}  # type: ignore[misc]
        found = in_turn({name: work[name] for name in ("small", "large", "png")}, repeats)
        used = {}
        for name in found:
            before = used_ms(server)
            for _ in range(repeats):
                work[name]()
            used[name] = (used_ms(server) - before) / repeats
        time.sleep(4)
        idle = memory_mib(server)
        peaks = {}
        for name in ("large", "huge"):
            with peak_memory(server) as peak:
                found[name + " again"] = in_turn({name: work[name]}, 3)[name]
            peaks[name] = peak[0] - idle
            time.sleep(4)
        plain = in_turn({"plain": lambda: plain_pipeline(picture(LARGE, "JPEG"), reference)}, 3)["plain"]
        own = used["large"] - alone["large processor"]
        rows += [
            Row("JPEG of 0.8 megapixels, beyond the networks", found["small"][0] - alone["small"], "ms", "10"),
            Row("the same, 95th percentile", found["small"][1] - alone["small"], "ms", "20"),
            Row("JPEG of 12 megapixels, beyond the networks", found["large"][0] - alone["large"], "ms", "60"),
            Row("the same, processor time", own, "ms", "80"),
            Row("processor time of the plain pipeline / ours", plain[2] / used["large"], "times", "25"),
            Row("PNG of 12 megapixels to PNG", found["png"][0], "ms", "350"),
            Row("memory of 12 megapixels above rest", peaks["large"], "MiB", "100"),
            Row("memory of 100 megapixels above rest", peaks["huge"], "MiB", "400"),
            Row(
                "time of a megapixel, at 100 / at 12",
                found["huge again"][0] / found["large again"][0] / 8.33,
                "times",
                "1",
            ),
        ]
        for clients in (8, 32):
            with ThreadPoolExecutor(clients) as pool:
                futures = [pool.submit(client, server.address, [bodies["small"]], HEADERS, 10.0, 0) for _ in range(clients)]
                results = [result for future in futures for result in future.result()]
            lost = sum(code != 200 for code, _ in results)
            rate = (len(results) - lost) / 10
            rows.append(Row(f"pictures a second with {clients} clients ({lost} lost)", rate, "/s", "60"))
            rows.append(Row(f"share of what the networks alone do, {clients} clients", rate * alone["small"] / 10, "%", "70"))
    return rows


def measure_view(folder: Path, repeats: int) -> list[Row]:
    """The page in a browser."""
    (folder / "scan.jpg").write_bytes(picture(LARGE, "JPEG"))
    with serving(folder, jobs=0, cache_dir=default_cache_dir()) as server:
        shown, frames = measure_page(server.address, folder / "scan.jpg", repeats)
    return [
        Row("the page: from 12 megapixels to the first full view in color", shown, "ms", "600"),
        Row("the page: frames while the slider moves", frames, "/s", "60"),
    ]


def measure_start(folder: Path) -> list[Row]:
    """The time from start to ready, without models and with them."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        with serving(folder, jobs=0, cache_dir=folder / "cache"):
            times.append(time.perf_counter() - start)
    return [Row("first start to ready", times[0], "s", "5"), Row("later start to ready", times[1], "s", "1.5")]


def measure_folder(folder: Path, count: int) -> list[Row]:
    """The command line on a folder of photographs of 0.8 megapixels."""
    (folder / "in").mkdir()
    content = picture(SMALL, "JPEG")
    for index in range(count):
        (folder / "in" / f"{index:04}.jpg").write_bytes(content)
    before, start = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "app.cli", "colorize", str(folder / "in"), "--out", str(folder / "out")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    took, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    share = 100 * used / took / usable_cores()
    return [Row(f"folder of {count} photographs", count / took, "/s", "60"), Row("of that, cores busy", share, "%", "90")]


def main() -> None:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    arguments = parser.parse_args()
    repeats = 8 if arguments.quick else 30
    rows, alone, reference = measure_networks(repeats)
    with tempfile.TemporaryDirectory() as name:
        rows += measure_server(Path(name), repeats, alone, reference)
    with tempfile.TemporaryDirectory() as name:
        rows += measure_view(Path(name), max(3, repeats // 5))
    with tempfile.TemporaryDirectory() as name:
        rows += measure_start(Path(name))
    with tempfile.TemporaryDirectory() as name:
        rows += measure_folder(Path(name), 100 if arguments.quick else 1000)
    print("| what | measured | target |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.value:.3g} {row.unit} | {row.target} |")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
