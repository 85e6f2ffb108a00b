"""What OpenAPI says and the types cannot: the categories of the bundle that is served, and answers as they came."""

import json
from typing import Any

from fastapi import FastAPI

from app.engine import Engine

_DECISION = {
    "category": "person",
    "confidence": 0.955,
    "fell_back": False,
    "reason": "confident",
    "threshold": 0.61,
    "top": [
        {"category": "person", "probability": 0.955},
        {"category": "truck", "probability": 0.028},
        {"category": "dress", "probability": 0.006},
        {"category": "flower", "probability": 0.0042},
        {"category": "dog", "probability": 0.002},
    ],
    "experts": [{"name": "general", "weight": 1.0}],
    "bundle": "everyday@151090be07f8",
    "working_size": 128,
    "timings_ms": {"wait": 0.03, "decode": 0.88, "route": 14.37, "paint": 5.04, "merge": 19.59, "encode": 1.09},
}
_PROBLEM = {
    "type": "urn:chromaroute:problem:not-a-picture",
    "title": "Unsupported Media Type",
    "status": 415,
    "detail": "this is not a picture that can be read: send one of JPEG, PNG, WEBP, TIFF, BMP, GIF.",
}

# Answers to a photograph of an astronaut, and to a job of it and a text file
EXAMPLES: dict[str, dict[str, Any]] = {
    "Decision": _DECISION,
    "Coloured": {"decision": _DECISION, "media_type": "image/jpeg", "image": "/9j/4AAQSkZJRgABAQAAAQABAAD/..."},
    "Category": {"name": "cat", "expert": "general", "fallback": False},
    "BundleInfo": {
        "bundle": "everyday@151090be07f8",
        "digest": "151090be07f882e7b83b868d4dba9a832c83af2263d7c861127fc4269ecfc8b8",
        "manifest": {"format": 1, "name": "everyday", "description": "Everyday photographs", "categories": {"cat": "general"}},
    },
    "Status": {"status": "ready"},
    "JobStatus": {
        "id": "e2207dec327146bca79d73e04da7c5b9",
        "state": "finished",
        "total": 2,
        "done": 1,
        "failed": 1,
        "created": "2026-11-21T08:51:23.444850Z",
        "expires": "2026-11-22T08:51:24.101337Z",
    },
    "Problem": _PROBLEM,
}


_RECORD = {"name": "scan.jpg", "output": "scan.jpg", "decision": _DECISION}
EVENTS = f"""id: 0
event: picture
data: {json.dumps({"index": 0, "record": _RECORD})}

id: 1
event: picture
data: {json.dumps({"index": 1, "record": {"name": "notes.txt", "problem": _PROBLEM}})}

id: 2
event: end
data: {json.dumps(EXAMPLES["JobStatus"])}

"""


def describe(app: FastAPI, engine: Engine) -> None:
    """Add them to the document that FastAPI makes."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        for path in document["paths"].values():
            for parameter in path.get("post", {}).get("parameters", ()):
                if parameter["name"] == "category":
                    parameter["schema"]["enum"] = ["auto", *engine.ensemble.bundle.router.choices]
        for name, example in EXAMPLES.items():
            document["components"]["schemas"][name]["examples"] = [example]
        return document

    app.openapi = described  # type: ignore[method-assign]
