"""Load on a running server from several processes: throughput, latencies, errors, and the server's memory.

    chromaroute serve &
    python bench/load.py --seconds 20 --clients 8 [--url http://127.0.0.1:8000] [--key KEY] [--size 1000] [PICTURE...]

Latency is from the first byte of the request to the last byte of the answer. 503 counts as refused, not as an error: it is what a
full queue answers. The last line has the throughput as a ratio to the time of one picture alone, measured in the same run, so that
machines can be compared.
"""

import argparse
import io
import multiprocessing
import re
import statistics
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from PIL import Image


def main() -> None:
    """Run the load and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, help="files to send; a gradient with noise if there are none")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=8, help="processes, each with one request at a time")
    parser.add_argument("--size", type=int, default=1000, help="long side of the made picture, in pixels")
    arguments = parser.parse_args()

    bodies = [form(path.read_bytes()) for path in arguments.pictures] or [form(made(arguments.size))]
    headers = {"Content-Type": "multipart/form-data; boundary=load"}
    if arguments.key:
        headers["Authorization"] = f"Bearer {arguments.key}"
    before = memory(arguments.url, headers)
    alone = [sent(arguments.url, bodies[index % len(bodies)], headers)[1] for index in range(10)][2:]

    with multiprocessing.Pool(arguments.clients) as pool:
        work = [(arguments.url, bodies, headers, arguments.seconds, index) for index in range(arguments.clients)]
        results = [result for found in pool.starmap(client, work) for result in found]
    during = memory(arguments.url, headers)
    time.sleep(5)

    codes = Counter(code for code, _ in results)
    times = sorted(seconds for code, seconds in results if code == 200) or [float("nan")]
    throughput = codes[200] / arguments.seconds
    errors = {code: count for code, count in codes.items() if code not in (200, 503)}
    print(f"{arguments.clients} clients, {arguments.seconds:g} s, {len(bodies)} pictures of {len(bodies[0]) // 1024} KiB and like")
    print(f"answers      {codes[200]}, refused {codes[503]}, errors {errors or 0}")
    if refusals := sorted(seconds for code, seconds in results if code == 503):
        print(f"refused in   {1000 * refusals[len(refusals) // 2]:.1f} ms at the median")
    print(f"throughput   {throughput:.1f} pictures a second")
    print(f"p50 / p95    {1000 * times[len(times) // 2]:.0f} / {1000 * times[int(len(times) * 0.95)]:.0f} ms")
    print(f"memory       {before:.0f} MiB before, {during:.0f} at the end, {memory(arguments.url, headers):.0f} after 5 s of rest")
    single = statistics.median(alone)
    print(f"one alone    {1000 * single:.0f} ms; as many times faster together: {throughput * single:.2f}")


def client(url: str, bodies: list[bytes], headers: dict[str, str], seconds: float, first: int) -> list[tuple[int, float]]:
    """Send one picture after the other; status and seconds of each."""
    end, results = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        results.append(sent(url, bodies[(first + len(results)) % len(bodies)], headers))
        if results[-1][0] == 503:
            time.sleep(0.2)
    return results


def sent(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
    """Status and seconds of a picture; 0 where there was no answer."""
    start = time.perf_counter()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/colorize", body, headers), timeout=120) as answer:
            answer.read()
            code = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    except OSError:
        code = 0
    return code, time.perf_counter() - start


def memory(url: str, headers: dict[str, str]) -> float:
    """The server's resident memory in MiB, as its metrics tell."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=headers)) as answer:
        found = re.search(rb"^process_resident_memory_bytes (\S+)", answer.read(), re.MULTILINE)
    return float(found.group(1)) / 2**20 if found else float("nan")


def made(size: int) -> bytes:
    """A picture as JPEG."""
    image = Image.blend(
        Image.linear_gradient("L").resize((size, size * 3 // 4)), Image.effect_noise((size, size * 3 // 4), 60), 0.3
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def form(content: bytes) -> bytes:
    """The body of a request with one picture."""
    head = b'--load\r\nContent-Disposition: form-data; name="file"; filename="load"\r\n\r\n'
    return head + content + b"\r\n--load--\r\n"


if __name__ == "__main__":
    main()
