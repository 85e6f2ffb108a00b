"""Adds to the OpenAPI document what types cannot express: categories of the served bundle, options as form fields, and examples.

The examples in `openapi_examples.json` are responses of a real server, recorded by `make docs`.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

from fastapi import FastAPI

from app.inference.engine import Engine
from app.schemas import REQUIRED

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
    """Add categories, form fields and examples to the document that FastAPI generates."""
    generate = app.openapi

    def with_examples() -> dict[str, Any]:
        document = generate()
        for path in document["paths"].values():
            for parameter in path.get("post", {}).get("parameters", ()):
                if parameter["name"] == "category" and engine.settings.bundles is None:  # otherwise it depends on the key
                    parameter["schema"]["enum"] = ["auto", *engine.ensemble.bundle.router.choices]
                if parameter["schema"].pop(REQUIRED, False):
                    parameter |= {"required": True, "schema": _without_null(parameter["schema"])}
            _add_form_fields(path.get("post", {}), document["components"]["schemas"])
        for name, example in examples()["schemas"].items():
            document["components"]["schemas"][name]["examples"] = [example]
        return document

    app.openapi = with_examples  # type: ignore[method-assign]


def _add_form_fields(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Describe the options in the query of an operation as fields of its form, which have the same effect."""
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    options = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    if form is None or not options:
        return
    body = schemas[form["schema"]["$ref"].rpartition("/")[2]]
    body["properties"] |= {option["name"]: _without_null(option["schema"]) for option in options}
    body["additionalProperties"] = False


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is given, and has no null in a form."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return schema if len(choices) != 1 else {key: value for key, value in schema.items() if key != "anyOf"} | choices[0]
