"""Hints over HTTP and on the command line."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from app import cli
from tests.app.archives import unpack
from tests.app.helpers import wait_for_end

NAVY = [{"x": 40, "y": 50, "color": "#1f3a8f"}]
GRAY = [{"x": 40, "y": 50, "color": "#808080"}]


def chromaroute(*arguments: object) -> str:
    """The output of a command, or the message of its error."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return str(result.exception) if result.exception else result.output


def levels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


def test_hints_are_a_form_field(client: TestClient, pictures: dict[str, bytes]) -> None:
    file = {"file": pictures["cat.jpg"]}
    plain = client.post("/v1/colorize?format=png", files=file)
    blue = client.post("/v1/colorize?format=png", files=file, data={"hints": json.dumps(NAVY)})
    assert blue.status_code == 200
    red_change, _, blue_change = (levels(blue.content) - levels(plain.content))[50, 40]
    assert blue_change > 10 > -10 > red_change
    record = client.post("/v1/colorize", files=file, data={"hints": json.dumps(NAVY)}, headers={"accept": "application/json"})
    assert record.json()["decision"]["hints"] == 1


@pytest.mark.parametrize(
    ("hints", "detail"),
    [
        ([{"x": 5000, "y": 0, "color": "#000000"}], "hints is '5000,0', which is not valid: give x from 0 to 199"),
        ([{"x": 0, "y": 0, "color": "blue"}], "hints[0].color is 'blue'"),
        ({"cat.jpg": NAVY}, "a JSON list of at most 1000 objects"),
    ],
)
def test_hints_that_are_not_valid_are_refused(client: TestClient, pictures: dict[str, bytes], hints: object, detail: str) -> None:
    response = client.post("/v1/colorize", files={"file": pictures["cat.jpg"]}, data={"hints": json.dumps(hints)})
    assert (response.status_code, response.json()["type"]) == (422, "urn:chromaroute:problem:bad-option")
    assert detail in response.json()["detail"]
    assert response.json()["option"].startswith("hints")


def test_hints_are_no_query_parameter(client: TestClient, pictures: dict[str, bytes]) -> None:
    response = client.post("/v1/colorize", files={"file": pictures["cat.jpg"]}, params={"hints": json.dumps(NAVY)})
    assert response.status_code == 422
    assert client.post("/v1/route", files={"file": pictures["cat.jpg"]}, data={"hints": json.dumps(NAVY)}).status_code == 422


def test_hints_of_a_batch_are_by_name(client: TestClient, pictures: dict[str, bytes]) -> None:
    names = ("cat.jpg", "food.jpg")
    files = [("files", (name, pictures[name])) for name in names]
    response = client.post("/v1/colorize/batch?format=png", files=files, data={"hints": json.dumps({"food.jpg": GRAY})})
    entries, records = unpack(response.content)
    assert [record["decision"]["hints"] for record in records] == [0, 1]  # type: ignore[index]
    alone = client.post("/v1/colorize?format=png", files={"file": pictures["food.jpg"]}, data={"hints": json.dumps(GRAY)})
    assert entries["food.jpg.png"] == alone.content
    wrong = client.post("/v1/colorize/batch", files=files, data={"hints": json.dumps({"dog.jpg": GRAY})})
    assert wrong.status_code == 422
    assert "the name of a picture that is sent: cat.jpg, food.jpg" in wrong.json()["detail"]


def test_hints_of_a_job_are_kept_with_it(job_client: TestClient, pictures: dict[str, bytes]) -> None:
    files = [("files", (name, pictures[name])) for name in ("cat.jpg", "food.jpg")]
    path = job_client.post("/v1/jobs?format=png", files=files, data={"hints": json.dumps({"cat.jpg": NAVY})}).headers["location"]
    wait_for_end(job_client, path)
    alone = job_client.post("/v1/colorize?format=png", files={"file": pictures["cat.jpg"]}, data={"hints": json.dumps(NAVY)})
    assert job_client.get(f"{path}/result/0").content == alone.content
    wrong = job_client.post("/v1/jobs", files=files, data={"hints": json.dumps({"dog.jpg": NAVY})})
    assert wrong.status_code == 422


def test_command_line_takes_hints(tmp_path: Path, client: TestClient, pictures: dict[str, bytes]) -> None:
    for name in ("cat.jpg", "food.jpg"):
        (tmp_path / name).write_bytes(pictures[name])
    chromaroute("colorize", tmp_path / "cat.jpg", "--out", tmp_path / "one.png", "--hint", "40,50=#1f3a8f")
    alone = client.post("/v1/colorize?format=png", files={"file": pictures["cat.jpg"]}, data={"hints": json.dumps(NAVY)})
    np.testing.assert_allclose(levels((tmp_path / "one.png").read_bytes()), levels(alone.content), atol=2)
    (tmp_path / "list.json").write_text(json.dumps(NAVY))
    chromaroute("colorize", tmp_path / "cat.jpg", "--out", tmp_path / "two.png", "--hints", tmp_path / "list.json")
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    (tmp_path / "names.json").write_text(json.dumps({"cat.jpg": NAVY}))
    both = (tmp_path / "cat.jpg", tmp_path / "food.jpg")
    report = tmp_path / "report.json"
    chromaroute("colorize", *both, "--out", tmp_path / "out", "--hints", tmp_path / "names.json", "--report", report)
    records = json.loads(report.read_bytes())
    assert [records[str(path)]["hints"] for path in both] == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hint", "40,50=navy"), "X,Y=#rrggbb, such as 120,80=#1f3a5f"),
        (("--hint", "40,50=#1f3a8f", "--watch"), "no hints, because they are of pictures that exist"),
        (("--hint", "40,50=#1f3a8f"), "a list for each name, because there are 2 pictures"),
        (("--hints", "{tmp}/missing.json"), "a JSON file that can be read"),
        (("--hints", "{tmp}/dog.json"), "the name of one picture; 0 have it"),
    ],
)
def test_hints_of_a_command_that_are_not_valid_are_refused(
    tmp_path: Path, pictures: dict[str, bytes], arguments: tuple[str, ...], message: str
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("cat.jpg", "food.jpg"):
        (folder / name).write_bytes(pictures[name])
    (tmp_path / "dog.json").write_text(json.dumps({"dog.jpg": NAVY}))
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert message in chromaroute("colorize", folder, *given)
