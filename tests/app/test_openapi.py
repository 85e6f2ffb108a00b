"""The OpenAPI document against the server: generated valid and invalid requests, and the examples of every problem."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api_keys import add_key
from app.errors import PROBLEM_TYPES
from app.routes import survey
from app.schemas import BundleInfo, Category, ColorizedImage, ItemEvent, JobStatus, PlausibleColors, Problem, Status
from models.decision import Decision
from tests.server_process import ROOT, serving


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("keys", [False, True])
def test_schemathesis_finds_no_failures(keys: bool, tmp_path: Path) -> None:
    secret = add_key(tmp_path / "keys.json", "tester", 1_000_000)
    with serving(tmp_path, **({"keys": tmp_path / "keys.json"} if keys else {})) as server:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={ROOT / 'tests' / 'schemathesis.toml'}",
            "run",
            f"{server.address}/openapi.json",
            "--generation-deterministic",
            f"--max-examples={os.environ.get('STRESS', 20)}",
            *([f"--header=Authorization: Bearer {secret}"] if keys else []),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.upload_examples"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:]


def test_every_problem_type_has_valid_example(client: TestClient) -> None:
    survey_app = FastAPI()
    survey_app.include_router(survey.router)  # the service has it only if a survey is configured
    paths = {**client.get("/openapi.json").json()["paths"], **survey_app.openapi()["paths"]}
    examples: dict[str, dict[str, object]] = {}
    for operations in paths.values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                found = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
                for slug, example in found.items():
                    assert str(example["value"]["status"]) == status
                    examples[slug] = example["value"]
    any_path = {"method-not-allowed", "internal-error", "headers-too-large", "wrong-host", "cross-site"}
    items_only = {"result-lost", "server-ended"}
    assert set(examples) == set(PROBLEM_TYPES) - any_path - items_only
    for slug, value in examples.items():
        assert Problem.model_validate(value).type == f"urn:chromaroute:problem:{slug}"


@pytest.mark.parametrize(
    "path", ["/v1/colorize", "/v1/colors", "/v1/route", "/v1/jobs", "/v1/jobs/{id}", "/v1/categories", "/v1/bundle", "/readyz"]
)
def test_response_examples_match_their_models(client: TestClient, path: str) -> None:
    document = client.get("/openapi.json").json()
    operation = next(iter(document["paths"][path].values()))
    response = operation["responses"].get("200") or operation["responses"]["202"]
    reference = response["content"]["application/json"]["schema"]
    name = (reference.get("items") or reference)["$ref"].rpartition("/")[2]
    models = (BundleInfo, Category, ColorizedImage, Decision, JobStatus, PlausibleColors, Status)
    model = next(model for model in models if model.__name__ == name)
    for example in document["components"]["schemas"][name]["examples"]:
        assert model.model_validate(example).model_dump(mode="json", exclude_none=True).keys() <= example.keys()


def test_category_parameter_lists_categories_of_bundle(client: TestClient) -> None:
    parameters = client.get("/openapi.json").json()["paths"]["/v1/colorize"]["post"]["parameters"]
    names = next(parameter["schema"]["enum"] for parameter in parameters if parameter["name"] == "category")
    assert names[0] == "auto"
    assert set(names[1:]) == {row["name"] for row in client.get("/v1/categories").json()}


def test_event_stream_example_is_valid(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    stream = document["paths"]["/v1/jobs/{id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]["example"]
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    assert [ItemEvent.model_validate_json(each).index for each in data[:2]] == [0, 1]
    assert JobStatus.model_validate_json(data[2]).state == "finished"
    assert "HTTPValidationError" not in json.dumps(document)
