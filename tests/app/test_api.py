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


def test_a_picture_comes_back_in_color_with_the_reason_in_its_headers(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    gray = photographs["flower"].convert("L")
    answer = post(client, encoded(gray, "JPEG"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as painted:
        assert painted.size == gray.size
        assert painted.format == "JPEG"
    assert answer.headers["x-chromaroute-category"] in {row["name"] for row in client.get("/v1/categories").json()}
    assert 0 <= float(answer.headers["x-chromaroute-confidence"]) <= 1
    assert answer.headers["x-chromaroute-fallback"] in ("true", "false")
    assert answer.headers["x-chromaroute-expert"]
    assert answer.headers["x-chromaroute-bundle"] == client.get("/v1/bundle").json()["bundle"]
    stages = [part.split(";dur=")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["wait", "decode", "route", "predict", "merge", "encode"]


@pytest.mark.parametrize("format", WRITES)
def test_the_format_can_be_chosen(format: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    answer = post(client, encoded(photographs["cat"]), format=format, quality=80)
    assert answer.headers["content-type"] == WRITES[format]
    with Image.open(io.BytesIO(answer.content)) as painted:
        assert painted.format is not None
        assert painted.format.lower() == format


def test_json_brings_the_decision_record_and_the_same_picture(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    content = encoded(photographs["food"])
    plain = post(client, content)
    answer = post(client, content, headers={"accept": "application/json"})
    body = answer.json()
    assert base64.b64decode(body["image"]) == plain.content
    assert body["media_type"] == "image/png"
    assert set(body["decision"]) == {
        "category", "confidence", "fell_back", "reason", "threshold", "top", "experts", "bundle", "working_size", "timings_ms",
    }  # fmt: skip
    assert len(body["decision"]["top"]) == 5


def test_a_category_can_be_asked_for(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    answer = post(client, encoded(photographs["cat"]), category="food")
    assert answer.headers["x-chromaroute-category"] == "food"
    assert answer.headers["x-chromaroute-fallback"] == "false"


def test_route_tells_what_colorize_would_do(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    content = encoded(photographs["city"])
    routed = post(client, content, "/v1/route").json()
    painted = post(client, content, headers={"accept": "application/json"}).json()["decision"]
    for key in ("category", "confidence", "reason", "top", "experts", "bundle"):
        assert routed[key] == painted[key]
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
def test_a_bad_option_is_a_422_that_names_the_valid_ones(
    options: dict[str, object], valid: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    answer = post(client, encoded(photographs["cat"]), **options)
    body = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == "urn:chromaroute:problem:bad-option"
    assert body["option"] in options
    assert body["valid"].startswith(valid)
    assert str(next(iter(options.values()))) in body["detail"]


def test_an_unknown_option_is_refused_and_not_ignored(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    answer = post(client, encoded(photographs["cat"]), categry="cat")
    assert answer.status_code == 422
    assert "'categry'" in answer.json()["detail"]
    assert "category, routing" in answer.json()["detail"]
    other = post(client, encoded(photographs["cat"]), "/v1/route", quality=3).json()["detail"]
    assert other.endswith("the options are category, routing, threshold.")


@pytest.mark.parametrize("path", ["/v1/colorize", "/v1/route"])
def test_bad_pictures_are_told_apart(path: str, client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
    whole = encoded(photographs["cat"], "JPEG")
    big = encoded(Image.new("L", (1001, 1000)))
    for content, status, kind in (
        (b"not a picture", 415, "not-a-picture"),
        (b"", 415, "not-a-picture"),
        (whole[: len(whole) // 2], 422, "broken-picture"),
        (big, 413, "too-large"),
    ):
        answer = post(client, content, path)
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:chromaroute:problem:{kind}")
        assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_bytes_are_refused_declared_or_streamed(client: TestClient) -> None:
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


def test_a_picture_too_long_for_a_format_is_told_so(client: TestClient, encoded: Encode) -> None:
    content = encoded(Image.new("L", (17_000, 2), 128))
    answer = post(client, content, format="webp")
    assert answer.status_code == 422
    assert "png or tiff for a side of 17000 pixels" in answer.json()["detail"]
    with Image.open(io.BytesIO(post(client, content).content)) as painted:
        assert painted.size == (17_000, 2)


def test_json_is_asked_for_by_name_and_not_by_accident(
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


def test_other_methods_name_the_allowed_ones_and_probes_may_ask_for_heads(client: TestClient) -> None:
    assert client.get("/v1/colorize").headers["allow"] == "POST"
    for path in ("/", "/livez", "/readyz"):
        assert client.head(path).status_code == 200


def test_a_request_without_a_file_says_how_to_send_one(client: TestClient) -> None:
    answer = client.post("/v1/colorize")
    assert answer.status_code == 422
    assert "curl -F file=@" in answer.json()["detail"]


def test_categories_and_bundle_say_what_is_served(client: TestClient) -> None:
    categories = client.get("/v1/categories").json()
    assert len(categories) >= 12
    assert [row["name"] for row in categories if row["fallback"]] == ["general"]
    body = client.get("/v1/bundle").json()
    assert body["bundle"] == f"everyday@{body['digest'][:12]}"
    assert set(body["manifest"]["categories"]) == {row["name"] for row in categories}


def test_health_page_and_documentation_answer(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert "swagger" in client.get("/docs").text
    assert client.get("/nowhere").json()["type"] == "urn:chromaroute:problem:not-found"


def test_the_page_and_the_documentation_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs", "/web/page.js", "/web/style.css"):
        text = client.get(path).text.replace("http://testserver", "").replace("http://www.w3.org", "")
        assert "http://" not in text, path
        assert "https://" not in text, path


def test_openapi_describes_answers_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    colorize = document["paths"]["/v1/colorize"]["post"]
    assert {parameter["name"] for parameter in colorize["parameters"]} == {
        "category", "routing", "threshold", "format", "quality", "saturation", "metadata",
    }  # fmt: skip
    assert {"200", "413", "415", "422"} <= set(colorize["responses"])
    assert "image/png" in colorize["responses"]["200"]["content"]
    for reference in ("ColorizedImage", "Problem", "Decision"):
        assert reference in document["components"]["schemas"]


def test_not_ready_until_warmed() -> None:
    app = create_app(Settings(jobs=False))
    assert app.state.engine.ready is False
    with TestClient(app) as client:
        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.get("/readyz").json() == {"status": "ready"}
    assert app.state.engine.ready is False


def test_a_bundle_that_cannot_run_ends_the_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
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


def test_few_pictures_are_in_memory_at_once(client: TestClient, photographs: dict[str, Image.Image], encoded: Encode) -> None:
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


def test_concurrent_pictures_get_their_own_answers(
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


def test_a_fault_of_ours_is_a_problem_too(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.engine.ensemble, "predict", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    answer = post(TestClient(client.app, raise_server_exceptions=False), encoded(photographs["cat"]))
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:chromaroute:problem:internal-error")
    assert "division" not in answer.text
