"""Adds to the OpenAPI document what types cannot express: the categories of the served bundle, and recorded responses as examples.

`openapi_examples.json` is written by `make docs` from the responses of a real server.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

from fastapi import FastAPI

from app.inference.engine import Engine

EXAMPLES_FILE = "openapi_examples.json"


@cache
def examples() -> dict[str, Any]:
    """A recorded response for each schema: of a photograph of an astronaut, and of a job of it and a text file."""
    content: dict[str, Any] = json.loads((resources.files("app") / EXAMPLES_FILE).read_bytes())
    return content


def event_stream_example() -> str:
    """The recorded events of the job."""
    events: list[dict[str, Any]] = examples()["events"]
    return "".join(f"id: {event['id']}\nevent: {event['event']}\ndata: {json.dumps(event['data'])}\n\n" for event in events)


def add_examples(app: FastAPI, engine: Engine) -> None:
    """Add categories and examples to the document that FastAPI generates."""
    generate = app.openapi

    def with_examples() -> dict[str, Any]:
        document = generate()
        for path in document["paths"].values():
            for parameter in path.get("post", {}).get("parameters", ()):
                if parameter["name"] == "category":
                    parameter["schema"]["enum"] = ["auto", *engine.ensemble.bundle.router.choices]
        for name, example in examples()["schemas"].items():
            document["components"]["schemas"][name]["examples"] = [example]
        return document

    app.openapi = with_examples  # type: ignore[method-assign]
