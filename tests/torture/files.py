"""Sends thousands of nasty files to a server: each is colorized or refused with a documented problem, quickly, and leaves nothing.

    python tests/torture/files.py [--files 10000]

They are of every kind that Pillow, tifffile and the tests write, whole at first and then damaged, the same in each run. They are
sent as single pictures, batches and jobs. Fails if an answer is neither 2xx nor a problem below 500 that the operation documents;
if an output cannot be read; if a file takes more than 2 seconds of processor time and one for each megapixel; if the memory of the
last quarter is above that of the second by a tenth and 50 MiB; or if threads, file descriptors, processes or files are left.
"""

import argparse
import io
import json
import os
import random
import re
import statistics
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx2
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.errors import PROBLEM_TYPES
from models.decoders import format_of
from tests.models.test_damaged_files import EXIF, FILES, RGB, XMP
from tests.picture_files import chunk, cmyk_profile, gray_tags, png, raw_tiff, rgb_profile, run_length_bmp, tiff
from tests.server_process import Server, serving, wait_until

ONE, BATCH, JOBS = "/v1/colorize", "/v1/colorize/batch", "/v1/jobs"
SECONDS, GROUP = 2, 8  # of a file; files of a batch or a job
SLACK = {"task": 8, "fd": 4, "processes": 0, "files": 0}  # pools of threads, and so their descriptors, come and go
OPTIONS = {
    "format": ("jpeg", "png", "webp", "tiff", "avif"), "quality": (1, 100), "saturation": (0, 2), "page": (1, 1, 1, 2),
    "metadata": ("strip", "keep-gps"), "routing": ("soft",), "category": ("cat", "dress", "general", "none"),
}  # fmt: skip
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
FIELDS = re.compile(rb"[IH]...|PLTE|tRNS|VP8.|ALPH|ftyp|i...|[ahj][pv][vim].|\x21\xf9|\xff[\x51-\xef]|\x01.\0|\0\x01.", re.DOTALL)
CHUNKS = re.compile(rb"(?=(....)(?:IHDR|PLTE|tRNS|IDAT))", re.DOTALL)  # of a PNG file
SEGMENTS = [
    b"\xff" + rest for rest in (b"\xed\0\x20Photoshop 3.0\x008BIM\4\4\0\0\0\0\xff\xff\x1c\2\x78", b"\xfe\0\2", b"\xe1\xff", b"")
]
VARIANTS = {
    "exif": [EXIF[:20], EXIF[:20] + bytes(9999), *(EXIF.replace(b"\1\0\6", bytes((1, 0, turn))) for turn in range(10))],
    "xmp": [XMP, b"<a>" * 9_000, b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe\0", b"<a xmlns='b' gps:x='52,30N'/>" * 99],
    "icc_profile": [cmyk_profile(), rgb_profile(1.0, "x"), bytes(999)],
}


def whole_files() -> list[tuple[str, bytes]]:
    """Names and contents of files of all kinds, and of what is no picture."""
    image, gray, tags, text, files = Image.fromarray(RGB), RGB[..., 0], gray_tags(), b"text " * 99_999, dict(FILES)
    plain: list[tuple[Image.Image, dict[str, object]]] = [(image.convert("L").convert(mode), {}) for mode in MODES]
    cases = [*plain, *((image, {name: value}) for name, values in VARIANTS.items() for value in values)]
    cases += [
        (image, {"save_all": True, "append_images": [image] * 20}),
        (Image.new("L", (2500, 2000)), {"compression": "tiff_lzw"}),
    ]
    Image.init()
    for format in sorted(Image.SAVE):
        for number, (picture, options) in enumerate(cases if format.lower() in " ".join(FILES) else plain):
            with suppress(Exception):  # not everything can be written in every format
                picture.save(buffer := io.BytesIO(), format, **options)
                files[f"{format} {number}"] = buffer.getvalue()
    files |= {f"tiff {kind}": tiff(gray.astype(kind)) for kind in ("i1", "i2", "i4", "u4", "f2", "f8", "u8")}
    files |= {f"tiff of {count} pages": tiff([gray[:1, :1]] * count) for count in (30, 1_200)}
    files |= {f"tiff {tag} is {value}": raw_tiff({**tags, tag: (4, 1, value)}, bytes(100)) for tag in tags for value in EXTREMES}
    files |= {f"tiff next {place}": raw_tiff(tags, bytes(100), place) for place in (1, 8, 108, 2**32 - 1)}
    packed = [(name, b"a\0\0" + zlib.compress(bytes(9**8))) for name in (b"zTXt", b"iCCP")]
    files |= {f"png {name!r}": png(RGB, 2, chunk(name, content) * 30) for name, content in [*packed, (b"tEXt", b"a\0" + text)]}
    files |= {"png 16": png(gray.astype("u2"), 0), "png without palette": png(gray, 3), "bmp runs": run_length_bmp(gray, 8)}
    starts = {"gzip": b"\x1f\x8b\x08", "zip": b"PK\3\4", "svg": b"<svg>", "text": b""}
    return [*files.items(), *((name, start + text) for name, start in starts.items()), ("empty", b""), ("zeros", bytes(9_999))]


def damaged(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """A file that is damaged in one way."""
    place = chance.randrange(min(len(content), chance.choice((16, 100, 2**30, 2**30))) + 1)
    if chance.random() < 0.5 and (places := [match.start() for match in FIELDS.finditer(content[:20_000])]):
        place = max(0, chance.choice(places) + chance.randrange(-4, 14))
    end, many = place + int(chance.expovariate(0.05)), chance.choice((1, 2, 50, 3000))
    start, piece, rest = content[:place], content[place:end], content[end:]
    field = struct.pack(chance.choice("<>") + "Q", chance.choice(EXTREMES))
    field = chance.choice((field, field[:4], field[4:], field[:2], field[6:], field[:1], field[7:]))
    ways = [
        start + chance.randbytes(len(piece)) + rest, start + bytes(chance.choice((0, 5000))), start + piece * many + rest,
        start + rest, start + chance.randbytes(20) + piece + rest, content + other, other[:place] + piece + rest,
        content[:2] + chance.choice(SEGMENTS) * many + content[2:], *[start + field + content[place + len(field) :]] * 4,
    ]  # fmt: skip
    changed = chance.choice(ways)
    for match in CHUNKS.finditer(changed) if chance.random() < 0.7 else ():  # a wrong checksum would hide the rest
        first, last = match.start() + 4, match.start() + 8 + int.from_bytes(match[1])
        changed = changed[:last] + struct.pack(">I", zlib.crc32(changed[first:last])) + changed[last + 4 :]
    return changed


class Torture:
    """Sends files to a server in a folder, and keeps what came of them."""

    def __init__(self, server: Server, client: httpx2.Client, folder: Path) -> None:
        self.server, self.client, self.folder, self.whole = server, client, folder, whole_files()
        self.readable = [entry for entry in self.whole if format_of(entry[1])]
        self.answers, self.memory, self.faults = Counter[str](), list[float](), list[str]()
        self.costs: list[tuple[float, float, str]] = []  # seconds of processor time, megapixels, and what was sent
        paths = client.get("/openapi.json").json()["paths"]
        self.documented = {path: json.dumps(paths[path]["post"]["responses"]) for path in (ONE, BATCH, JOBS)}

    def file(self, index: int) -> tuple[str, bytes]:
        """Name and content of a file."""
        chance = random.Random(index)
        name, content = self.whole[index] if index < len(self.whole) else chance.choice(self.readable)
        for _ in range(chance.choice((1, 1, 1, 1, 2, 5)) if index >= len(self.whole) else 0):
            content = damaged(content, chance.choice(self.whole)[1], chance)
        return f"{index} {name}.{chance.choice(('jpg', 'tif', 'exe'))}", content

    def send(self, path: str, indices: list[int]) -> None:
        """Send files in a request, and judge the answer. If it takes long, each is sent alone."""
        chance, before, megapixels = random.Random(indices[0]), self.resources["seconds"], 0.0
        options = {name: chance.choice(values) for name, values in OPTIONS.items() if chance.random() < 0.3}
        files = [("file" if path == ONE else "files", self.file(index)) for index in indices]
        answer = self.client.post(path, files=files, params=options)
        if answer.status_code == 202:
            job = f"{JOBS}/{answer.json()['id']}"
            wait_until(lambda: self.client.get(job).json()["state"] == "finished", 300)
            answer = self.client.get(f"{job}/result")
            self.client.delete(job)
        seconds, is_good = self.resources["seconds"] - before, answer.status_code == 200
        problems, outputs = ([], [answer.content]) if is_good else ([answer.json()], [])
        if is_good and path != ONE:
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                *outputs, records = map(archive.read, archive.namelist())
            problems = [record["problem"] for record in json.loads(records) if "problem" in record]
        faults = ["a result is missing"] if is_good and len(outputs) + len(problems) != len(indices) else []
        for problem in problems:
            kind, status = problem["type"].rpartition(":")[2], problem["status"]
            self.answers[f"{status} {kind}"] += 1
            is_listed = kind in PROBLEM_TYPES and PROBLEM_TYPES[kind].status == status < 500
            if not is_listed or f'problem:{kind}"' not in self.documented[ONE if is_good else path]:
                faults.append(str(problem))
        for output in outputs:
            self.answers["200"] += 1
            try:
                with Image.open(io.BytesIO(output)) as image:
                    image.load()
                    megapixels += image.width * image.height * getattr(image, "n_frames", 1) / 1e6
            except Exception as error:
                faults.append(f"an output cannot be read: {error!r}")
        label = f"{path} {[name for _, (name, _) in files]} {options}"
        self.faults += [f"{label}: {fault}" for fault in faults]
        if seconds > SECONDS and len(indices) > 1:
            for index in indices:
                self.send(ONE, [index])
        elif path == ONE:
            self.costs.append((round(seconds, 2), round(megapixels, 2), label))
            if seconds > SECONDS + megapixels:
                self.faults.append(f"{label}: {seconds:.1f} seconds, {megapixels:.1f} megapixels")

    @property
    def resources(self) -> dict[str, float]:
        """What the server and its processes have, and the processor time that they and ended ones have taken."""
        found = [Path("/proc", str(self.server.process.pid))]
        for process in found:
            found += [Path("/proc", name) for path in process.glob("task/*/children") for name in path.read_text().split()]
        counts = {kind: sum(len(os.listdir(process / kind)) for process in found) for kind in ("task", "fd")}
        ticks = [tick for process in found for tick in (process / "stat").read_text().rpartition(")")[2].split()[11:15]]
        files = sum(path.is_file() for path in self.folder.rglob("*"))
        return {**counts, "processes": len(found), "files": files, "seconds": sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")}

    def at_rest(self) -> tuple[dict[str, float], float]:
        """What the server has some time after a picture, for which an ended process has started again; and its memory."""
        self.client.post(ONE, files={"file": FILES["png"]})
        time.sleep(15)
        return {name: value for name, value in self.resources.items() if name != "seconds"}, self.server.memory_mib


def main() -> None:
    """Start a server, send the files, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    count, start = parser.parse_args().files, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = name  # of the server
        with serving(Path(name)) as server, httpx2.Client(base_url=server.address, timeout=300) as client:
            torture, index, first = Torture(server, client, Path(name)), 0, None
            while index < count:
                path = random.Random(-index).choices((ONE, BATCH, JOBS), (60, 2, 1))[0]
                indices = list(range(index, min(count, index + (1 if path == ONE else GROUP))))
                torture.send(path, indices)
                torture.memory.append(server.memory_mib)
                index += len(indices)
                if not first and index > count / 10:
                    torture.send(JOBS, list(range(5 * GROUP)))
                    first = torture.at_rest()
            last = torture.at_rest()
            log = [line for line in server.log.read_text().splitlines() if " INFO " not in line]
    size = len(torture.memory) // 4
    quarters = [statistics.median(torture.memory[part * size : (part + 1) * size]) for part in range(4)]
    if quarters[3] > quarters[1] * 1.1 + 50:
        torture.faults.append("the memory grows")
    if first is None or any(abs(last[0][name] - value) > SLACK[name] for name, value in first[0].items()):
        torture.faults.append("the server has not what it had at first")
    found = {
        "files": count, "kinds": len(torture.whole), "minutes": round((time.monotonic() - start) / 60, 1),
        "answers": dict(torture.answers), "slowest": sorted(torture.costs)[-5:],
        "memory of each quarter in MiB": quarters, "at rest, after a tenth": first, "and at the end": last,
        "log, without requests": log[:100], "faults": torture.faults,
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    sys.exit(bool(torture.faults) or any("ERROR" in line or "Traceback" in line for line in log))


if __name__ == "__main__":
    main()
