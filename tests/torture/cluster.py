"""Kills parts of a Ray cluster of three nodes under load: a replica of the networks, the controller of Serve, a node, the API.
Stops a node for 20 seconds, and replaces the bundle.

    python tests/torture/cluster.py

Every answer must be the right picture or an honest 503, and a job that was accepted must finish with every picture right.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[2]))

from models.bundle_header import EVERYDAY
from tests.cluster_process import RAY
from tests.server_process import ROOT, free_port, wait_until

CLIENTS = 4
PAUSE = 20.0  # seconds under load after each fault
JOB = 300  # pictures
STOPPED = 20.0  # seconds for which a node does not answer
PIXELS = 8_000  # bytes at the end of a JPEG file, which are none of its metadata


class Load:
    """Clients that send pictures without a pause, and count what they are answered."""

    def __init__(self, address: str, pictures: list[bytes]) -> None:
        self.address, self.pictures, self.phase = address, pictures, "before"
        self.expected = [self.send(index).content for index in range(len(pictures))]
        self.answers: Counter[tuple[str, str]] = Counter()
        self.slowest: dict[str, float] = {}
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def send(self, index: int) -> httpx.Response:
        return httpx.post(f"{self.address}/v1/colorize", files={"file": self.pictures[index]}, timeout=90)

    def post_job(self, count: int) -> str:
        """The path of a new job of so many pictures."""
        files = [("files", (f"{n}.jpg", self.pictures[n % len(self.pictures)])) for n in range(count)]
        return httpx.post(f"{self.address}/v1/jobs", files=files, timeout=90).raise_for_status().headers["location"]

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._stopped.is_set():
            number = (number + 1) % len(self.pictures)
            phase, began = self.phase, time.monotonic()
            try:
                answer = self.send(number)
                outcome = str(answer.status_code)
                if answer.status_code == 200 and not alike(answer.content, self.expected[number]):
                    outcome = "wrong picture"
                elif answer.status_code not in (200, 503):
                    outcome += " " + answer.text[:80]
            except httpx.HTTPError as error:
                outcome = type(error).__name__
            self.answers[phase, outcome] += 1
            self.slowest[phase] = max(self.slowest.get(phase, 0), time.monotonic() - began)
            if outcome != "200":
                time.sleep(1)


def main() -> None:
    """Run the faults and print what was answered in each phase."""
    os.environ |= {**RAY, "PYTHONPATH": str(ROOT)}
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from app.cluster.application import build
    from app.cluster.options import ClusterOptions
    from app.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=3) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        bundle = Path(folder) / "bundle"
        shutil.copytree(EVERYDAY, bundle)
        settings = Settings(bundle=bundle, data_dir=Path(folder) / "data", precision="float32", deadline=60)
        serve.run(build(ClusterOptions(networks_replicas=2, networks_cpus=1, api_cpus=1), settings), name="chromaroute")
        wait_until(lambda: httpx.get(f"{address}/readyz", timeout=60).status_code == 200, 120)
        load = Load(address, pictures())
        print(f"the first picture after {time.monotonic() - began:.0f} s on three nodes")
        job = load.post_job(JOB)

        def lose_node() -> None:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=3))

        def replace_bundle() -> None:
            manifest = json.loads((bundle / "manifest.json").read_text()) | {"description": "Another description."}
            (bundle / "manifest.json").write_text(json.dumps(manifest))

        def stop_node() -> None:
            processes = node_processes(nodes[-1])
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            threading.Timer(STOPPED, lambda: [os.kill(process, signal.SIGCONT) for process in processes]).start()

        faults = {
            "replaced: the bundle": replace_bundle,
            "stopped for 20 s: a node": stop_node,
            "killed: a replica of the networks": lambda: kill("ServeReplica:chromaroute:networks"),
            "killed: the controller of Serve": lambda: kill("ServeController"),
            "killed: a node": lose_node,
            "killed: the API replica": lambda: kill("ServeReplica:chromaroute:api"),
        }
        time.sleep(PAUSE / 2)
        for name, fault in faults.items():
            load.phase = name
            fault()
            time.sleep(2 * PAUSE if fault == stop_node else PAUSE)
        is_right = print_outcome(load, job)
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
        sys.exit(0 if is_right else 1)


def print_outcome(load: Load, job: str) -> bool:
    """Wait for the job, end the load, and print what was answered in each phase; whether all of it was right."""
    wait_until(lambda: httpx.get(f"{load.address}/readyz", timeout=60).status_code == 200, 120)
    wait_until(lambda: state(load.address, job) == "finished", 300)
    load.stop()
    for phase in dict.fromkeys(phase for phase, _ in load.answers):
        counts = {outcome: count for (each, outcome), count in load.answers.items() if each == phase}
        print(f"{phase:<36} {counts}, slowest {load.slowest[phase]:.1f} s")
    status = httpx.get(f"{load.address}{job}", timeout=60).json()
    results = [httpx.get(f"{load.address}{job}/result/{n}", timeout=60).content for n in range(JOB)]
    wrong = sum(not alike(result, load.expected[n % 3]) for n, result in enumerate(results))
    print(f"job: {status['done']} of {status['total']} done, {status['failed']} failed, {wrong} wrong")
    return not wrong and not status["failed"] and all(outcome in ("200", "503") for _, outcome in load.answers)


def pictures() -> list[bytes]:
    """Three gray photographs as JPEG."""
    contents = []
    for pixels in (data.astronaut(), data.chelsea(), data.coffee()):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert("L").save(buffer, "JPEG")
        contents.append(buffer.getvalue())
    return contents


def alike(one: bytes, other: bytes) -> bool:
    """Whether two JPEG files have the same pixels: they end alike, and begin with the label of a bundle."""
    return len(one) > PIXELS and one[-PIXELS:] == other[-PIXELS:]


def node_processes(node: Any) -> list[int]:
    """The raylet of a node, and its workers."""
    (raylet,) = [info.process.pid for info in node.all_processes["raylet"]]
    children = subprocess.run(["pgrep", "-P", str(raylet)], capture_output=True, text=True, check=False).stdout.split()
    return [raylet, *map(int, children)]


def kill(name: str) -> None:
    """Kill the first process of that name."""
    found = subprocess.run(["pgrep", "-f", f"ray::{name}"], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(found[0]), signal.SIGKILL)


def state(address: str, job: str) -> str:
    """The state of a job; empty if the service does not answer."""
    answer = httpx.get(f"{address}{job}", timeout=60)
    return str(answer.json()["state"]) if answer.status_code == 200 else ""


if __name__ == "__main__":
    main()
