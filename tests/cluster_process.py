"""Starts the service on a Ray cluster of this machine, for tests; run as a module, it is the process that deploys it."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server_process import ROOT, Server, free_port, wait_until

RAY = {
    "CHROMAROUTE_ALLOW_ANONYMOUS": "1",  # Serve may listen on all addresses
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "app.cluster.proxy:middlewares",
}
CPUS = 6  # of the cluster, whatever this machine has: replicas wait for one another in tests


@contextmanager
def serving_on_cluster(folder: Path, *arguments: str, **variables: object) -> Iterator[Server]:
    """Deploy the service with `key=value` arguments and CHROMAROUTE_* variables; the cluster ends with the context."""
    port = free_port()
    settings = {f"CHROMAROUTE_{name.upper()}": str(value) for name, value in variables.items()}
    environment = {**os.environ, **RAY, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-m", "tests.cluster_process", str(port), *arguments]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    server = Server(f"http://127.0.0.1:{port}", process, folder / "log")

    def ready() -> bool:
        assert process.poll() is None, server.log.read_text()
        try:
            return urllib.request.urlopen(f"{server.address}/readyz", timeout=5).status == 200  # type: ignore[no-any-return]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    try:
        wait_until(ready, 120)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    import ray
    from ray import serve

    from app.cluster.application import application

    port, *arguments = sys.argv[1:]
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    print("metrics port", ray.nodes()[0]["MetricsExportPort"], flush=True)
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(application(dict(argument.split("=", 1) for argument in arguments)), name="chromaroute")
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
