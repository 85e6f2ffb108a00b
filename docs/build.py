"""Writes the generated parts of the documentation: `make docs`. With `--check` it only reports which text files are outdated.

Text between `<!-- NAME -->` and `<!-- /NAME -->` is generated, from the reports in `docs/report` and `docs/measured` and from the
code. Other numbers in the documents are copied by hand, and tests compare them with the reports.
"""

import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi.testclient import TestClient
from matplotlib import cbook
from PIL import Image, ImageDraw
from pydantic_core import PydanticUndefined

import chromaroute
from app.errors import PROBLEM_TYPES
from app.main import create_app
from app.openapi import EXAMPLES_FILE
from app.settings import Settings
from models.bundle_header import EVERYDAY
from models.options import Options, valid_values
from training.report.formatting import table
from training.report.goals import GoalReports, goals_table, old_prints_table
from training.report.render import read_report, readme_table, render_again, render_markdown
from training.report.samples import packaged_samples

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPORT = DOCS / "report"
MEASURED = DOCS / "measured"
EXAMPLES = ROOT / "app" / EXAMPLES_FILE
PICTURE = DOCS / "images" / "before-after.jpg"
HINTED = DOCS / "images" / "hints.jpg"
TOLERANCE = 0.02  # of probabilities in examples, which depend on the processor


def main() -> None:
    """Write everything, or check it and exit with 1 if something is outdated."""
    check = "--check" in sys.argv[1:]
    texts, examples = dict(generated_texts()), record_examples()
    outdated = [str(path.relative_to(ROOT)) for path, text in texts.items() if path.read_text() != text]
    if not alike(json.loads(EXAMPLES.read_text()), examples):
        outdated.append(str(EXAMPLES.relative_to(ROOT)))
    if check:
        if outdated:
            sys.exit(f"outdated: {', '.join(outdated)}. Run `make docs` and commit the result.")
        return
    for path, text in texts.items():
        path.write_text(text)
    render_again(REPORT)
    EXAMPLES.write_text(json.dumps(examples, indent=1) + "\n")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(before_and_after())
    HINTED.write_bytes(hinted_portrait())


def generated_texts() -> Iterator[tuple[Path, str]]:
    """Every text file with generated parts, and what it should contain."""
    photographs = read_report(REPORT / "report.json")
    measured = {path.stem: read_report(path) for path in MEASURED.glob("*.json")}
    reports = GoalReports(photographs, **measured)
    goals = goals_table(reports)
    yield ROOT / "README.md", replaced(ROOT / "README.md", "scores", readme_table(photographs))
    yield EVERYDAY / "CARD.md", replaced(EVERYDAY / "CARD.md", "goals", goals)
    yield DOCS / "results.md", replaced(DOCS / "results.md", "goals", goals)
    old_photographs = DOCS / "old-photographs.md"
    yield old_photographs, replaced(old_photographs, "old-prints", old_prints_table(reports))
    api = replaced(DOCS / "api.md", "options", options_table())
    yield DOCS / "api.md", replace_part(api, "problems", problems_table(), DOCS / "api.md")
    yield DOCS / "operations.md", replaced(DOCS / "operations.md", "settings", settings_table())
    yield REPORT / "report.md", render_markdown(photographs)


def replaced(path: Path, name: str, text: str) -> str:
    """The content of a file with another text in the part `name`."""
    return replace_part(path.read_text(), name, text, path)


def replace_part(content: str, name: str, text: str, path: Path) -> str:
    """The content with another text in the part `name`; `path` is for the message if there is no such part."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if content.count(start) != 1 or content.count(end) != 1:
        sys.exit(f"{path} needs {start} and {end} once each.")
    return f"{content.partition(start)[0]}{start}\n{text}\n{end}{content.partition(end)[2]}"


def options_table() -> str:
    """The options of the API and the library."""
    rows = []
    for name, field in Options.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append([f"`{name}`", valid_values(field), default, str(field.description)])
    return table(["option", "values", "default", "description"], rows)


def problems_table() -> str:
    """The problems of the API by status, with an example of the detail."""
    problems = sorted(PROBLEM_TYPES.items(), key=lambda item: item[1].status)
    return table(
        ["status", "`urn:chromaroute:problem:`", "example of the detail"],
        [[str(problem.status), f"`{name}`", problem.example] for name, problem in problems],
    )


def settings_table() -> str:
    """The settings of a deployment, with the defaults as people write them."""
    rows = []
    for name, field in Settings.model_fields.items():
        rows.append([f"`{name.upper()}`", _default(name, field.default), str(field.description)])
    return table(["`CHROMAROUTE_`", "default", "description"], rows)


def _default(name: str, value: Any) -> str:
    if value is PydanticUndefined:  # is made at the start
        return {"replica": "the host name", "cache_dir": "a folder of this user"}[name]
    if value == EVERYDAY:
        return "the embedded bundle"
    if value in (None, "", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{value:d}`"
    if name.endswith("_bytes"):
        return f"{value // 2**20:,} MiB"
    return f"{value:,}" if isinstance(value, int | float) else f"`{value}`"


def record_examples() -> dict[str, Any]:
    """Responses of a real server to a photograph of an astronaut, and the events of a job of it and a text file."""
    _, rgb = next(iter(packaged_samples()))
    scan = io.BytesIO()
    Image.fromarray(rgb).convert("L").save(scan, "JPEG", quality=90)
    with tempfile.TemporaryDirectory() as folder, TestClient(create_app(Settings(data_dir=Path(folder)))) as client:
        while client.get("/readyz").status_code != httpx.codes.OK:
            pass
        picture = {"file": ("scan.jpg", scan.getvalue())}
        plausible = client.post("/v1/colors?x=200&y=60", files=picture).json()
        colorized = client.post("/v1/colorize", files=picture, headers={"Accept": "application/json"}).json()
        items = [("files", ("scan.jpg", scan.getvalue())), ("files", ("notes.txt", b"a text"))]
        job = client.post("/v1/jobs", files=items).json()
        stream = client.get(f"/v1/jobs/{job['id']}/events").text
        bundle = client.get("/v1/bundle").json()
        category = client.get("/v1/categories").json()[0]
        status = client.get("/readyz").json()
    events = [
        {"id": event["id"], "event": event["event"], "data": json.loads(event["data"])}
        for event in (dict(re.findall(r"^(\w+): (.*)$", block, re.MULTILINE)) for block in stream.split("\n\n"))
        if "data" in event
    ]
    problem = next(event["data"]["record"]["problem"] for event in events if "problem" in event["data"].get("record", {}))
    manifest = bundle["manifest"]
    short = {name: manifest[name] for name in ("format", "name", "description")}
    short["categories"] = dict(list(manifest["categories"].items())[:1])
    schemas = {
        "Decision": colorized["decision"],
        "PlausibleColors": {"colors": plausible["colors"], "decision": colorized["decision"]},
        "Category": category,
        "BundleInfo": {**bundle, "manifest": short},
        "Status": status,
        "JobStatus": events[-1]["data"],
        "Problem": problem,
        "ColorizedImage": {**colorized, "image": f"{colorized['image'][:28]}..."},
    }
    return {"schemas": schemas, "events": events}


def alike(old: Any, new: Any, key: str = "") -> bool:
    """Whether two recordings are the same except for times, ids, and small differences of numbers."""
    if key in ("timings_ms", "id", "created", "expires"):
        return type(old) is type(new) and (not isinstance(old, dict) or old.keys() == new.keys())
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(alike(old[name], new[name], name) for name in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(alike, old, new))
    if isinstance(old, float) and isinstance(new, float):
        return abs(old - new) <= TOLERANCE
    return bool(old == new)


def hinted_portrait() -> bytes:
    """A JPEG with a portrait that matplotlib ships: gray, colorized, and colorized with hints, which are drawn as points."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        gray = np.asarray(portrait.convert("L"))
    hints = [chromaroute.Hint(**hint) for hint in json.loads(HINTED.with_name("hopper.json").read_text())]
    ensemble = chromaroute.load()
    parts = [np.repeat(gray[..., None], 3, axis=2), *(ensemble.colorize_array(gray, hints=each)[0] for each in ((), hints))]
    picture = Image.fromarray(np.concatenate(parts, axis=1))
    draw = ImageDraw.Draw(picture)
    for hint in hints:
        draw.circle((hint.x + 2 * gray.shape[1], hint.y), 6, hint.color, "white", 2)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


def before_and_after(side: int = 384) -> bytes:
    """A JPEG with the gray astronaut and the same picture colorized by the embedded bundle."""
    _, rgb = next(iter(packaged_samples()))
    gray = np.asarray(Image.fromarray(rgb).convert("L").resize((side, side), Image.Resampling.LANCZOS))
    colorized, _ = chromaroute.load().colorize_array(gray)
    both = np.concatenate((np.repeat(gray[..., None], 3, axis=2), colorized), axis=1)
    content = io.BytesIO()
    Image.fromarray(both).save(content, "JPEG", quality=88)
    return content.getvalue()


if __name__ == "__main__":
    main()
