"""Options as form fields, which have the effect of query parameters; and parts of a form that would be ignored otherwise."""

import io
import json
import zipfile

import httpx2
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.app.archives import pack, tiny_picture, unpack
from tests.app.helpers import wait_for_end

PICTURE = tiny_picture()


def post_form(client: TestClient, path: str, *parts: tuple[str, str | None, bytes | str], query: str = "") -> httpx2.Response:
    """Send parts, each with its name, file name (or None) and content, in a multipart form."""
    body = b""
    for name, file_name, content in parts:
        file = "" if file_name is None else f'; filename="{file_name}"'
        value = content if isinstance(content, bytes) else content.encode()
        body += f'--boundary\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    headers = {"content-type": "multipart/form-data; boundary=boundary"}
    return client.post(f"{path}{query}", content=body + b"--boundary--\r\n", headers=headers)


def detail_of(response: httpx2.Response, status: int = 422, kind: str = "bad-request") -> str:
    """The detail of a problem of this kind."""
    assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
    return str(response.json()["detail"])


@pytest.mark.parametrize(
    "options",
    [
        {"format": "webp", "quality": "40"},
        {"category": "food", "saturation": "0.5", "format": "jpeg"},
        {"routing": "soft", "threshold": "0.2", "metadata": "strip"},
        {"format": "avif", "page": "1"},
    ],
)
def test_form_fields_have_the_effect_of_query_parameters(client: TestClient, options: dict[str, str]) -> None:
    in_query = client.post("/v1/colorize", files={"file": PICTURE}, params=options)
    in_form = client.post("/v1/colorize", files={"file": PICTURE}, data=options)
    first = dict(list(options.items())[:1])
    in_both = client.post("/v1/colorize", files={"file": PICTURE}, params=first, data=dict(list(options.items())[1:]))
    before_the_file = post_form(
        client, "/v1/colorize", *((name, None, value) for name, value in options.items()), ("file", "a", PICTURE)
    )
    for response in (in_query, in_form, in_both, before_the_file):
        assert response.status_code == 200
        assert response.content == in_query.content
        assert response.headers["x-chromaroute-category"] == in_query.headers["x-chromaroute-category"]
    assert in_query.content != client.post("/v1/colorize", files={"file": PICTURE}).content


def test_form_fields_of_route_are_its_own(client: TestClient) -> None:
    decision = client.post("/v1/route", files={"file": PICTURE}, data={"threshold": "0.99", "routing": "soft"}).json()
    assert decision["threshold"] == 0.99
    assert len(decision["experts"]) > 1
    response = client.post("/v1/route", files={"file": PICTURE}, data={"quality": "3"})
    assert "there is no option 'quality'" in detail_of(response, kind="bad-option")


@pytest.mark.parametrize("field", ["files", "archive"])
def test_form_fields_of_batch_apply_to_every_item(client: TestClient, field: str) -> None:
    files = [("files", ("a.png", PICTURE)), ("files", ("b.png", PICTURE))]
    parts = files if field == "files" else {"archive": pack({"a.png": PICTURE, "b.png": PICTURE})}
    entries, records = unpack(client.post("/v1/colorize/batch", files=parts, data={"format": "jpeg", "category": "food"}).content)
    assert list(entries) == ["a.png.jpg", "b.png.jpg"]
    assert [record["decision"]["category"] for record in records] == ["food", "food"]  # type: ignore[index]
    alone = client.post("/v1/colorize?format=jpeg&category=food", files={"file": PICTURE})
    assert set(entries.values()) == {alone.content}


@pytest.mark.slow
def test_form_fields_of_job_are_stored(job_client: TestClient) -> None:
    response = job_client.post("/v1/jobs", files={"files": ("a.png", PICTURE)}, data={"format": "tiff", "saturation": "0"})
    path = response.headers["location"]
    wait_for_end(job_client, path)
    with zipfile.ZipFile(io.BytesIO(job_client.get(f"{path}/result").content)) as archive:
        assert archive.namelist() == ["a.png.tif", "decisions.json"]
        with Image.open(archive.open("a.png.tif")) as image:
            red, green, blue = image.split()
            assert red.tobytes() == green.tobytes() == blue.tobytes()


@pytest.mark.parametrize(
    ("options", "option", "valid"),
    [
        ({"quality": "0"}, "quality", "a whole number from 1 to 100"),
        ({"quality": "high"}, "quality", "a whole number from 1 to 100"),
        ({"format": ""}, "format", "one of auto, jpeg, png, webp, tiff, avif"),
        ({"saturation": "nan"}, "saturation", "a number from 0 to 2"),
        ({"category": "spaceship"}, "category", "one of auto, animal"),
        ({"page": "2"}, "page", "a whole number from 1 to 1, the number of pages of this file"),
        ({"page": "x"}, "page", "a whole number from 1 to 1000"),
    ],
)
def test_invalid_form_field_is_reported_like_a_parameter(
    client: TestClient, options: dict[str, str], option: str, valid: str
) -> None:
    in_form, in_query = (client.post("/v1/colorize", files={"file": PICTURE}, **{how: options}) for how in ("data", "params"))
    for response in (in_form, in_query):
        detail_of(response, kind="bad-option")
        assert response.json()["option"] == option
        assert response.json()["valid"].startswith(valid)
    assert in_form.json()["detail"] == in_query.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/colorize", "/v1/route", "/v1/colorize/batch", "/v1/jobs"])
def test_unknown_form_field_is_rejected_with_the_known_ones(job_client: TestClient, path: str) -> None:
    field = "file" if path in ("/v1/colorize", "/v1/route") else "files"
    response = job_client.post(path, files={field: ("a.png", PICTURE)}, data={"fromat": "png"})
    detail = detail_of(response, kind="bad-option")
    assert "there is no option 'fromat'" in detail
    assert "category, routing, threshold" in detail


def test_option_given_twice_is_rejected(client: TestClient) -> None:
    picture = ("file", "a.png", PICTURE)
    twice = post_form(client, "/v1/colorize", picture, ("format", None, "png"), ("format", None, "jpeg"))
    assert detail_of(twice) == "'format' is given twice: give it once."
    in_both = post_form(client, "/v1/colorize", picture, ("format", None, "png"), query="?format=png")
    assert detail_of(in_both) == "'format' is given twice: give it once."
    in_query = client.post("/v1/colorize?format=png&format=webp", files={"file": PICTURE})
    assert detail_of(in_query) == "'format' is given twice: give it once."


def test_second_picture_is_rejected_and_not_ignored(client: TestClient) -> None:
    response = post_form(client, "/v1/colorize", ("file", "a.png", PICTURE), ("file", "b.png", PICTURE))
    assert detail_of(response) == "'file' is given twice: give it once. Several pictures go to /v1/colorize/batch or /v1/jobs."
    response = post_form(
        client, "/v1/colorize/batch", ("archive", "a.zip", pack({"a": b""})), ("archive", "b.zip", pack({"a": b""}))
    )
    assert "'archive' is given twice" in detail_of(response)


@pytest.mark.parametrize(("path", "name"), [("/v1/colorize", "image"), ("/v1/colorize", "files"), ("/v1/colorize/batch", "file")])
def test_misnamed_file_is_rejected_with_the_right_name(client: TestClient, path: str, name: str) -> None:
    detail = detail_of(post_form(client, path, (name, "a.png", PICTURE)))
    assert detail.startswith(f"there is no part called {name!r}: ")
    assert "curl -F file" in detail or "-F file" in detail


def test_misnamed_file_beside_the_right_one_is_rejected(client: TestClient) -> None:
    response = post_form(client, "/v1/colorize", ("file", "a.png", PICTURE), ("mask", "b.png", PICTURE))
    assert "there is no part called 'mask'" in detail_of(response)


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/colorize", "file"), ("/v1/colorize/batch", "files"), ("/v1/colorize/batch", "archive")]
)
def test_file_without_a_file_name_is_rejected_with_the_reason(client: TestClient, path: str, name: str) -> None:
    detail = detail_of(post_form(client, path, (name, None, PICTURE)))
    assert f"the part {name!r} is a text and not a file, because it has no file name" in detail


def test_file_with_only_an_encoded_file_name_is_rejected_with_the_reason(client: TestClient) -> None:
    """RFC 7578 forbids `filename*`, and some clients send it."""
    head = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''Gro%C3%9Fmutter.png\r\n\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/colorize", content=head + PICTURE + b"\r\n--x--\r\n", headers=headers)
    assert "because it has no file name" in detail_of(response)


def test_file_as_an_option_is_rejected(client: TestClient) -> None:
    response = post_form(client, "/v1/colorize", ("file", "a.png", PICTURE), ("format", "format.txt", "png"))
    assert "there is no part called 'format'" in detail_of(response)


def test_unknown_query_parameter_is_rejected_everywhere(job_client: TestClient) -> None:
    path = job_client.post("/v1/jobs", files={"files": ("a.png", PICTURE)}).headers["location"]
    for method, address in (
        ("GET", path),
        ("GET", f"{path}/result"),
        ("HEAD", f"{path}/result"),
        ("GET", f"{path}/events"),
        ("POST", f"{path}/cancel"),
        ("GET", "/v1/categories"),
    ):
        response = job_client.request(method, f"{address}?pretty=1")
        assert response.status_code == 422, address
        if method != "HEAD":
            assert "there is no option 'pretty'" in response.json()["detail"]


def test_openapi_describes_options_as_form_fields(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in ("/v1/colorize", "/v1/colorize/variants", "/v1/route", "/v1/colorize/batch", "/v1/jobs"):
        operation = document["paths"][path]["post"]
        reference = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
        body = document["components"]["schemas"][reference.rpartition("/")[2]]
        options = {parameter["name"]: parameter for parameter in operation["parameters"] if parameter["in"] == "query"}
        assert len(options) >= 3
        assert set(body["properties"]) - set(options) in ({"file"}, {"files", "archive"})
        assert set(body.get("required", ())) <= {"file"}
        assert body["additionalProperties"] is False
        for name, parameter in options.items():
            assert body["properties"][name]["description"] == parameter["description"]
            assert "null" not in json.dumps(body["properties"][name])
        assert body["properties"]["threshold"] == {
            "type": "number", "minimum": 0, "maximum": 1, "title": "Threshold", "description": options["threshold"]["description"],
        }  # fmt: skip
