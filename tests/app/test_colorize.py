"""Single pictures: `/v1/colorize` and `/v1/route` with their options, formats and problems."""

import base64
import io
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from models.imaging import WRITES
from tests.app.helpers import post_picture

Encode = Callable[..., bytes]


def test_colorize_returns_color_picture_and_decision_headers(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    gray = photographs["flower"].convert("L")
    response = post_picture(client, encoded(gray, "JPEG"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(response.content)) as colorized:
        assert colorized.size == gray.size
        assert colorized.format == "JPEG"
    assert response.headers["x-chromaroute-category"] in {row["name"] for row in client.get("/v1/categories").json()}
    assert 0 <= float(response.headers["x-chromaroute-confidence"]) <= 1
    assert response.headers["x-chromaroute-fallback"] in ("true", "false")
    assert response.headers["x-chromaroute-expert"]
    assert response.headers["x-chromaroute-bundle"] == client.get("/v1/bundle").json()["bundle"]
    stages = [part.split(";dur=")[0] for part in response.headers["server-timing"].split(", ")]
    assert stages == ["wait", "decode", "route", "predict", "merge", "encode"]


@pytest.mark.parametrize("format", WRITES)
def test_output_format_can_be_chosen(format: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    response = post_picture(client, encoded(photographs["cat"]), format=format, quality=80)
    assert response.headers["content-type"] == WRITES[format]
    with Image.open(io.BytesIO(response.content)) as colorized:
        assert colorized.format is not None
        assert colorized.format.lower() == format


def test_json_response_contains_decision_and_same_picture(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    content = encoded(photographs["food"])
    plain = post_picture(client, content)
    response = post_picture(client, content, headers={"accept": "application/json"})
    body = response.json()
    assert base64.b64decode(body["image"]) == plain.content
    assert body["media_type"] == "image/png"
    assert set(body["decision"]) == {
        "category", "confidence", "fell_back", "reason", "threshold", "top", "experts", "bundle", "working_size", "timings_ms",
        "page", "page_count", "hints", "notes", "other_pages",
    }  # fmt: skip
    assert len(body["decision"]["top"]) == 5
    assert [body["decision"][name] for name in ("page", "page_count", "notes", "other_pages")] == [1, 1, [], []]


def test_category_can_be_requested(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    response = post_picture(client, encoded(photographs["cat"]), category="food")
    assert response.headers["x-chromaroute-category"] == "food"
    assert response.headers["x-chromaroute-fallback"] == "false"


def test_route_returns_same_decision_as_colorize(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    content = encoded(photographs["city"])
    routed = post_picture(client, content, "/v1/route").json()
    colorized = post_picture(client, content, headers={"accept": "application/json"}).json()["decision"]
    for key in ("category", "confidence", "reason", "top", "experts", "bundle"):
        assert routed[key] == colorized[key]
    assert "predict" not in routed["timings_ms"]
    assert post_picture(client, content, "/v1/route", threshold=1.0).json()["fell_back"] is True
    soft = post_picture(client, content, "/v1/route", routing="soft").json()["experts"]
    assert sum(share["weight"] for share in soft) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({"category": "spaceship"}, "one of auto, animal"),
        ({"routing": "firm"}, "one of hard, soft"),
        ({"threshold": 2}, "a number from 0 to 1"),
        ({"format": "heic"}, "one of auto, jpeg, png, webp, tiff, avif"),
        ({"page": 0}, "a whole number from 1 to 1000"),
        ({"quality": 0}, "a whole number from 1 to 100"),
        ({"quality": "high"}, "a whole number from 1 to 100"),
        ({"saturation": 3}, "a number from 0 to 2"),
    ],
)
def test_invalid_option_is_422_with_valid_values(
    options: dict[str, object], valid: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    response = post_picture(client, encoded(photographs["cat"]), **options)
    body = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == "urn:chromaroute:problem:bad-option"
    assert body["option"] in options
    assert body["valid"].startswith(valid)
    assert str(next(iter(options.values()))) in body["detail"]


def test_unknown_option_is_rejected(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    response = post_picture(client, encoded(photographs["cat"]), categry="cat")
    assert response.status_code == 422
    assert "'categry'" in response.json()["detail"]
    assert "category, routing" in response.json()["detail"]
    other = post_picture(client, encoded(photographs["cat"]), "/v1/route", quality=3).json()["detail"]
    assert other.endswith("the options are category, routing, threshold.")


@pytest.mark.parametrize("path", ["/v1/colorize", "/v1/route"])
def test_invalid_pictures_have_distinct_problem_types(
    path: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    whole = encoded(photographs["cat"], "JPEG")
    big = encoded(Image.new("L", (1001, 1000)))
    for content, status, kind in (
        (b"not a picture", 415, "not-a-picture"),
        (b"", 415, "not-a-picture"),
        (whole[: len(whole) // 2], 422, "broken-picture"),
        (big, 413, "too-large"),
    ):
        response = post_picture(client, content, path)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
        assert response.headers["content-type"] == "application/problem+json"


def test_oversized_body_is_rejected_with_and_without_content_length(client: TestClient) -> None:
    declared = post_picture(client, b"\xff\xd8" + b"0" * 2_000_000)
    assert (declared.status_code, declared.json()["type"]) == (413, "urn:chromaroute:problem:too-large")
    assert "2000000 bytes" in declared.json()["detail"]

    def chunks():  # type: ignore[no-untyped-def]
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"0" * 100_000

    headers = {"content-type": "multipart/form-data; boundary=x"}
    streamed = client.post("/v1/colorize", content=chunks(), headers=headers)
    assert "content-length" not in streamed.request.headers
    assert (streamed.status_code, streamed.json()["type"]) == (413, "urn:chromaroute:problem:too-large")


def test_side_too_long_for_output_format_is_rejected(client: TestClient, encoded: Encode) -> None:
    content = encoded(Image.new("L", (17_000, 2), 128))
    response = post_picture(client, content, format="webp")
    assert response.status_code == 422
    assert "png or tiff for a side of 17000 pixels" in response.json()["detail"]
    with Image.open(io.BytesIO(post_picture(client, content).content)) as colorized:
        assert colorized.size == (17_000, 2)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("Application/JSON", "application/json"),
        ("application/json; q=0.5", "application/json"),
        ("application/json, text/plain, */*", "application/json"),  # of equal weights, the type that is named more exactly
        ("image/*;q=0.8, application/json", "application/json"),
        ("application/*", "application/json"),
        ("image/png;q=0, */*", "application/json"),
        ("application/json;q=0.9, image/jpeg", "application/json"),  # the picture is a PNG
        ("image/png, application/json;q=0", "image/png"),
        ("image/*, application/json;q=0.5", "image/png"),
        ("image/png, application/json", "image/png"),
        ("application/json;q=0.1, */*;q=0.2", "image/png"),
        ("application/json;q=x", "image/png"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "image/png"),
        ("text/html", "image/png"),
        ("*/*", "image/png"),
        ("", "image/png"),
    ],
)
def test_json_is_returned_only_if_accept_header_prefers_it(accept: str, expected: str, client: TestClient, encoded: Encode) -> None:
    response = post_picture(client, encoded(Image.new("L", (8, 8), 99)), headers={"accept": accept})
    assert response.headers["content-type"] == expected


def test_request_without_file_is_rejected_with_curl_example(client: TestClient) -> None:
    response = client.post("/v1/colorize")
    assert response.status_code == 422
    assert "curl -F file=@" in response.json()["detail"]
