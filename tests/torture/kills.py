"""Kills the server at random moments while it processes a job, and checks that every picture comes out once.

python tests/torture/kills.py [--kills 200]
"""

import argparse
import io
import json
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import httpx2
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.server_process import free_port, serving, wait_until  # noqa: E402

ITEMS = 1000


def archive(items: int = ITEMS) -> bytes:
    """Small pictures that differ."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index in range(items):
            content = io.BytesIO()
            Image.effect_noise((200 + index % 100, 150), 60).save(content, "JPEG")
            file.writestr(f"{index:04}.jpg", content.getvalue())
    return buffer.getvalue()


def main() -> None:
    """Kill, restart, and look at the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    kills = parser.parse_args().kills
    chance, names, finished = random.Random(0), [], Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder, done = Path(name), 0
        while done < kills:
            with serving(folder, port=free_port()) as server:
                if not names or _complete(folder, names[-1]):
                    answer = httpx2.post(f"{server.address}/v1/jobs", files={"archive": archive()}, timeout=120)
                    names.append(answer.json()["id"])
                time.sleep(chance.uniform(0, 6))
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                done += 1
        with serving(folder, port=free_port()) as server:
            for job in names:
                wait_until(lambda: _complete(folder, job), 900)  # noqa: B023
                content = httpx2.get(f"{server.address}/v1/jobs/{job}/result", timeout=120).content
                with zipfile.ZipFile(io.BytesIO(content)) as result:
                    records = json.loads(result.read("decisions.json"))
                    outputs = [entry for entry in result.namelist() if entry != "decisions.json"]
                    finished["records"] += len(records)
                    finished["different outputs"] += len(set(outputs))
                    finished["problems"] += sum("problem" in record for record in records)
                    finished["damaged outputs"] += sum(result.testzip() is not None for _ in (0,))
    print(json.dumps({"kills": kills, "jobs": len(names), "items": ITEMS * len(names), **finished}))
    expected = ITEMS * len(names)
    sys.exit(finished["records"] != expected or finished["different outputs"] != expected or finished["problems"] > 0)


def _complete(folder: Path, job: str) -> bool:
    return len(list((folder / "data" / "jobs" / job / "out").glob("*.done"))) == ITEMS


if __name__ == "__main__":
    main()
