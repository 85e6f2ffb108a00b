"""Puts load on a running server from several processes and prints throughput, latencies, errors and the memory of the server.

    chromaroute serve &
    python bench/load.py --seconds 20 --clients 8 [--url http://127.0.0.1:8000] [--key KEY] [--size 1000] [PICTURE...]

Latency is the time from the first byte of the request to the last byte of the response. Status 503, which an overloaded server
returns, counts as refused, not as an error. The last line gives the throughput relative to that of single requests in the same run,
so that machines can be compared.
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
    parser.add_argument("pictures", nargs="*", type=Path, help="files to send; by default, a gradient with noise")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=8, help="number of processes, each with one request at a time")
    parser.add_argument("--size", type=int, default=1000, help="long side of the default picture, in pixels")
    arguments = parser.parse_args()

    bodies = [form_body(path.read_bytes()) for path in arguments.pictures] or [form_body(default_picture(arguments.size))]
    headers = {"Content-Type": "multipart/form-data; boundary=load"}
    if arguments.key:
        headers["Authorization"] = f"Bearer {arguments.key}"
    before = memory_mib(arguments.url, headers)
    single = [send(arguments.url, bodies[index % len(bodies)], headers)[1] for index in range(10)][2:]

    with multiprocessing.Pool(arguments.clients) as pool:
        work = [(arguments.url, bodies, headers, arguments.seconds, index) for index in range(arguments.clients)]
        results = [result for own in pool.starmap(client, work) for result in own]
    during = memory_mib(arguments.url, headers)
    time.sleep(5)
    after = memory_mib(arguments.url, headers)

    codes = Counter(code for code, _ in results)
    times = sorted(seconds for code, seconds in results if code == 200) or [float("nan")]
    throughput = codes[200] / arguments.seconds
    errors = {code: count for code, count in codes.items() if code not in (200, 503)}
    kib = len(bodies[0]) // 1024
    print(f"{arguments.clients} clients, {arguments.seconds:g} s, {len(bodies)} different pictures, the first of {kib} KiB")
    print(f"responses    {codes[200]}, refused {codes[503]}, errors {errors or 0}")
    if refusals := sorted(seconds for code, seconds in results if code == 503):
        print(f"refused in   {1000 * refusals[len(refusals) // 2]:.1f} ms at the median")
    print(f"throughput   {throughput:.1f} pictures per second")
    print(f"p50 / p95    {1000 * times[len(times) // 2]:.0f} / {1000 * times[int(len(times) * 0.95)]:.0f} ms")
    print(f"memory       {before:.0f} MiB before, {during:.0f} at the end, {after:.0f} after 5 s without requests")
    median = statistics.median(single)
    print(f"single       {1000 * median:.0f} ms; relative throughput with {arguments.clients} clients: {throughput * median:.2f}")


def client(url: str, bodies: list[bytes], headers: dict[str, str], seconds: float, first: int) -> list[tuple[int, float]]:
    """Send one picture after the other; returns the status and seconds of each."""
    end, results = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        results.append(send(url, bodies[(first + len(results)) % len(bodies)], headers))
        if results[-1][0] == 503:
            time.sleep(0.2)
    return results


def send(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
    """Send a picture; returns status and seconds. The status is 0 if there was no response."""
    start = time.perf_counter()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/colorize", body, headers), timeout=120) as response:
            response.read()
            code = response.status
    except urllib.error.HTTPError as error:
        code = error.code
    except OSError:
        code = 0
    return code, time.perf_counter() - start


def memory_mib(url: str, headers: dict[str, str]) -> float:
    """The resident memory of the server in MiB, from its metrics."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=headers)) as response:
        match = re.search(rb"^process_resident_memory_bytes (\S+)", response.read(), re.MULTILINE)
    return float(match.group(1)) / 2**20 if match else float("nan")


def default_picture(size: int) -> bytes:
    """A gradient with noise, as JPEG."""
    image = Image.blend(
        Image.linear_gradient("L").resize((size, size * 3 // 4)), Image.effect_noise((size, size * 3 // 4), 60), 0.3
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def form_body(content: bytes) -> bytes:
    """The body of a request with one picture."""
    head = b'--load\r\nContent-Disposition: form-data; name="file"; filename="load"\r\n\r\n'
    return head + content + b"\r\n--load--\r\n"


if __name__ == "__main__":
    main()
