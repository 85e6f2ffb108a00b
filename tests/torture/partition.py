"""Cuts a node of a Ray cluster off the network for 20 seconds under load, and heals it. Needs root and iproute2.

    python tests/torture/partition.py

Each of the three nodes has an address of its own: two are in network namespaces, connected to the head by a bridge. Every answer
must be the right picture or an honest 503, and a job that was accepted must finish with every picture right.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cluster_process import RAY
from tests.server_process import ROOT, free_port, wait_until
from tests.torture.cluster import JOB, PAUSE, Load, pictures, print_outcome

BRIDGE, HEAD = "chromaroute", "10.77.0.1"
CUT = 20.0  # seconds
RAY_PROGRAM = Path(sys.executable).with_name("ray")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def bridge() -> Iterator[None]:
    """A network of this machine, in which the head has the first address."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("address", "add", f"{HEAD}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield
    finally:
        ip("link", "delete", BRIDGE)


@contextmanager
def node(number: int, port: int) -> Iterator[None]:
    """A node in a namespace, whose end of the cable at the bridge is called `node<number>`."""
    namespace, address = f"{BRIDGE}-{number}", f"10.77.0.{10 + number}"
    ip("netns", "add", namespace)
    inside = ["ip", "netns", "exec", namespace]
    try:
        ip("link", "add", f"node{number}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("link", "set", f"node{number}", "master", BRIDGE, "up")
        for command in (
            ["address", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            subprocess.run([*inside, "ip", *command], check=True)
        start = [RAY_PROGRAM, "start", f"--address={HEAD}:{port}", f"--node-ip-address={address}", "--num-cpus=3", "--block"]
        # a folder of its own for sockets and logs; and started again when it ends, as a container is
        supervised = f"mount -t tmpfs tmpfs /tmp/ray; while true; do {shlex.join(map(str, start))}; sleep 1; done"
        process = subprocess.Popen(
            [*inside, "unshare", "--mount", "sh", "-c", supervised],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        ip("netns", "delete", namespace)


def replicas(number: int) -> list[str]:
    """The names of the replicas that run on a node."""
    processes = subprocess.run(["ip", "netns", "pids", f"{BRIDGE}-{number}"], capture_output=True, text=True, check=True).stdout
    titles = [Path(f"/proc/{process}/cmdline").read_bytes().decode().strip("\0 ") for process in processes.split()]
    return [title.removeprefix("ray::ServeReplica:chromaroute:") for title in titles if title.startswith("ray::ServeReplica")]


def main() -> None:
    """Start the cluster, cut a node off, heal it, and print what was answered."""
    os.environ |= {**RAY, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 4 * "partition"}
    import ray
    from ray import serve

    from app.cluster.application import build
    from app.cluster.options import ClusterOptions
    from app.settings import Settings

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = free_port()
        stack.enter_context(bridge())
        address = ["--head", f"--port={port}", f"--node-ip-address={HEAD}"]
        subprocess.run(
            [RAY_PROGRAM, "start", *address, "--num-cpus=1", "--include-dashboard=false"], check=True, stdout=subprocess.DEVNULL
        )
        stack.callback(subprocess.run, [RAY_PROGRAM, "stop", "--force"], stdout=subprocess.DEVNULL, check=False)
        for number in range(2):
            stack.enter_context(node(number, port))
        ray.init(address=f"{HEAD}:{port}", _node_ip_address=HEAD, log_to_driver=False, logging_level="error")
        wait_until(lambda: len([each for each in ray.nodes() if each["Alive"]]) == 3, 120)
        address = f"http://{HEAD}:{free_port()}"
        serve.start(proxy_location="HeadOnly", http_options={"host": HEAD, "port": int(address.rsplit(":", 1)[1])})
        settings = Settings(data_dir=Path(folder), precision="float32", deadline=60)
        serve.run(build(ClusterOptions(networks_replicas=2, networks_cpus=2, api_cpus=1), settings), name="chromaroute")
        wait_until(lambda: httpx.get(f"{address}/readyz", timeout=60).status_code == 200, 120)
        load = Load(address, pictures())
        job = load.post_job(JOB)
        time.sleep(PAUSE / 2)
        print(f"replicas on the nodes that are cut off: {[replicas(number) for number in range(2)]}")
        for number in range(2):
            load.phase = f"cut off for 20 s: node {number}"
            ip("link", "set", f"node{number}", "down")
            threading.Timer(CUT, ip, ("link", "set", f"node{number}", "up")).start()
            time.sleep(CUT + PAUSE)
        load.phase = "afterwards"
        time.sleep(PAUSE)
        is_right = print_outcome(load, job)
        serve.shutdown()
        ray.shutdown()
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
