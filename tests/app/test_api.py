import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings
from models.imaging import WRITES

Encode = Callable[..., bytes]


def post(client: TestClient, content: bytes, path: str = "/v1/colorize", **options: object):  # type: ignore[no-untyped-def]
    headers = options.pop("headers", {})
    return client.post(path, files={"file": ("scan", content)}, params=options, headers=headers)


def test_colorize_returns_color_picture_and_decision_headers(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    gray = photographs["flower"].convert("L")
    response = post(client, encoded(gray, "JPEG"))
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
    response = post(client, encoded(photographs["cat"]), format=format, quality=80)
    assert response.headers["content-type"] == WRITES[format]
    with Image.open(io.BytesIO(response.content)) as colorized:
        assert colorized.format is not None
        assert colorized.format.lower() == format


def test_json_response_contains_decision_and_same_picture(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    content = encoded(photographs["food"])
    plain = post(client, content)
    response = post(client, content, headers={"accept": "application/json"})
    body = response.json()
    assert base64.b64decode(body["image"]) == plain.content
    assert body["media_type"] == "image/png"
    assert set(body["decision"]) == {
        "category", "confidence", "fell_back", "reason", "threshold", "top", "experts", "bundle", "working_size", "timings_ms",
    }  # fmt: skip
    assert len(body["decision"]["top"]) == 5


def test_category_can_be_requested(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    response = post(client, encoded(photographs["cat"]), category="food")
    assert response.headers["x-chromaroute-category"] == "food"
    assert response.headers["x-chromaroute-fallback"] == "false"


def test_route_returns_same_decision_as_colorize(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    content = encoded(photographs["city"])
    routed = post(client, content, "/v1/route").json()
    colorized = post(client, content, headers={"accept": "application/json"}).json()["decision"]
    for key in ("category", "confidence", "reason", "top", "experts", "bundle"):
        assert routed[key] == colorized[key]
    assert "predict" not in routed["timings_ms"]
    assert post(client, content, "/v1/route", threshold=1.0).json()["fell_back"] is True
    soft = post(client, content, "/v1/route", routing="soft").json()["experts"]
    assert sum(share["weight"] for share in soft) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({"category": "spaceship"}, "one of auto, animal"),
        ({"routing": "firm"}, "one of hard, soft"),
        ({"threshold": 2}, "a number from 0 to 1"),
        ({"format": "heic"}, "one of auto, jpeg, png, webp, tiff"),
        ({"quality": 0}, "a whole number from 1 to 100"),
        ({"quality": "high"}, "a whole number from 1 to 100"),
        ({"saturation": 3}, "a number from 0 to 2"),
    ],
)
def test_invalid_option_is_422_with_valid_values(
    options: dict[str, object], valid: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    response = post(client, encoded(photographs["cat"]), **options)
    body = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == "urn:chromaroute:problem:bad-option"
    assert body["option"] in options
    assert body["valid"].startswith(valid)
    assert str(next(iter(options.values()))) in body["detail"]


def test_unknown_option_is_rejected(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    response = post(client, encoded(photographs["cat"]), categry="cat")
    assert response.status_code == 422
    assert "'categry'" in response.json()["detail"]
    assert "category, routing" in response.json()["detail"]
    other = post(client, encoded(photographs["cat"]), "/v1/route", quality=3).json()["detail"]
    assert other.endswith("the options are category, routing, threshold.")


@pytest.mark.parametrize("path", ["/v1/colorize", "/v1/route"])
def test_invalid_pictures_have_distinct_problem_types(path: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    whole = encoded(photographs["cat"], "JPEG")
    big = encoded(Image.new("L", (1001, 1000)))
    for content, status, kind in (
        (b"not a picture", 415, "not-a-picture"),
        (b"", 415, "not-a-picture"),
        (whole[: len(whole) // 2], 422, "broken-picture"),
        (big, 413, "too-large"),
    ):
        response = post(client, content, path)
        assert (response.status_code, response.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
        assert response.headers["content-type"] == "application/problem+json"


def test_oversized_body_is_rejected_with_and_without_content_length(client: TestClient) -> None:
    declared = post(client, b"\xff\xd8" + b"0" * 2_000_000)
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
    response = post(client, content, format="webp")
    assert response.status_code == 422
    assert "png or tiff for a side of 17000 pixels" in response.json()["detail"]
    with Image.open(io.BytesIO(post(client, content).content)) as colorized:
        assert colorized.size == (17_000, 2)


def test_json_is_returned_only_if_accept_header_prefers_it(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    content = encoded(photographs["cat"])
    for accept, expected in (
        ("Application/JSON", "application/json"),
        ("image/png, application/json;q=0", "image/png"),
        ("application/json; q=0.5", "application/json"),
        ("*/*", "image/png"),
    ):
        assert post(client, content, headers={"accept": accept}).headers["content-type"] == expected


def test_405_lists_allowed_methods_and_health_paths_accept_head(client: TestClient) -> None:
    assert client.get("/v1/colorize").headers["allow"] == "POST"
    for path in ("/", "/livez", "/readyz"):
        assert client.head(path).status_code == 200


def test_request_without_file_is_rejected_with_curl_example(client: TestClient) -> None:
    response = client.post("/v1/colorize")
    assert response.status_code == 422
    assert "curl -F file=@" in response.json()["detail"]


def test_categories_and_bundle_describe_served_bundle(client: TestClient) -> None:
    categories = client.get("/v1/categories").json()
    assert len(categories) >= 12
    assert [row["name"] for row in categories if row["fallback"]] == ["general"]
    body = client.get("/v1/bundle").json()
    assert body["bundle"] == f"everyday@{body['digest'][:12]}"
    assert set(body["manifest"]["categories"]) == {row["name"] for row in categories}


def test_health_page_and_documentation_are_served(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert "swagger" in client.get("/docs").text
    assert client.get("/nowhere").json()["type"] == "urn:chromaroute:problem:not-found"


def test_page_and_documentation_load_no_external_resources(client: TestClient) -> None:
    for path in ("/", "/docs", "/web/page.js", "/web/style.css"):
        text = client.get(path).text.replace("http://testserver", "").replace("http://www.w3.org", "")
        assert "http://" not in text, path
        assert "https://" not in text, path


def test_openapi_describes_parameters_responses_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    colorize = document["paths"]["/v1/colorize"]["post"]
    assert {parameter["name"] for parameter in colorize["parameters"]} == {
        "category", "routing", "threshold", "format", "quality", "saturation", "metadata",
    }  # fmt: skip
    assert {"200", "413", "415", "422"} <= set(colorize["responses"])
    assert "image/png" in colorize["responses"]["200"]["content"]
    for reference in ("ColorizedImage", "Problem", "Decision"):
        assert reference in document["components"]["schemas"]


def test_not_ready_before_warmup() -> None:
    app = create_app(Settings(jobs=False))
    assert app.state.engine.ready is False
    with TestClient(app) as client:
        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.get("/readyz").json() == {"status": "ready"}
    assert app.state.engine.ready is False


def test_failing_warmup_stops_server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(jobs=False))
    monkeypatch.setattr(app.state.engine.ensemble, "predict", lambda *_: 1 / 0)
    ended: list[int] = []
    monkeypatch.setattr("signal.raise_signal", ended.append)
    with TestClient(app) as client:
        deadline = time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.get("/readyz").status_code == 503
    assert ended
    assert "cannot run" in caplog.text


def test_concurrent_pictures_in_memory_are_limited(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    engine = client.app.state.engine  # type: ignore[attr-defined]
    places, at_once, peak = engine._foreground, 0, 0

    class Counted:
        async def acquire(self) -> None:
            nonlocal at_once, peak
            await places.acquire()
            at_once += 1
            peak = max(peak, at_once)

        def release(self) -> None:
            nonlocal at_once
            at_once -= 1
            places.release()

    limit = places._value
    engine._foreground = Counted()
    try:
        with ThreadPoolExecutor(12) as pool:
            codes = list(pool.map(lambda _: post(client, encoded(photographs["cat"])).status_code, range(24)))
    finally:
        engine._foreground = places
    assert codes == [200] * 24
    assert 1 <= peak <= limit < 12


def test_concurrent_requests_get_their_own_pictures(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    alone = {name: post(client, encoded(picture)).content for name, picture in photographs.items()}
    with ThreadPoolExecutor(8) as pool:
        names = list(photographs) * 3
        together = pool.map(lambda name: post(client, encoded(photographs[name])).content, names)
        for name, content in zip(names, together, strict=True):
            assert content == alone[name]
    assert len(set(alone.values())) == len(alone)
    assert np.array(Image.open(io.BytesIO(alone["cat"]))).shape == (133, 200, 3)


def test_unexpected_exception_is_500_problem_without_details(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.engine.ensemble, "predict", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    response = post(TestClient(client.app, raise_server_exceptions=False), encoded(photographs["cat"]))
    assert (response.status_code, response.json()["type"]) == (500, "urn:chromaroute:problem:internal-error")
    assert "division" not in response.text
