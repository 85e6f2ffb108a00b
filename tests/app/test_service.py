"""The service around the pictures: information, health, documentation, warmup, concurrency and internal errors."""

import io
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings
from models.options import Options, valid_values
from tests.app.helpers import post_picture

Encode = Callable[..., bytes]


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


def test_slider_of_the_page_has_the_range_of_the_option(client: TestClient) -> None:
    slider = re.search(r'<input id="saturation" .*?>', client.get("/").text)
    assert slider
    low, high = (re.search(rf'{name}="(.+?)"', slider[0])[1] for name in ("min", "max"))  # type: ignore[index]
    assert valid_values(Options.model_fields["saturation"]) == f"a number from {low} to {high}"


def test_page_and_documentation_load_no_external_resources(client: TestClient) -> None:
    for path in ("/", "/docs", "/web/page.js", "/web/style.css"):
        text = client.get(path).text.replace("http://testserver", "").replace("http://www.w3.org", "")
        assert "http://" not in text, path
        assert "https://" not in text, path


def test_openapi_describes_parameters_responses_and_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    colorize = document["paths"]["/v1/colorize"]["post"]
    assert {parameter["name"] for parameter in colorize["parameters"]} == {
        "category", "routing", "threshold", "format", "quality", "saturation", "metadata", "page",
    }  # fmt: skip
    assert {"200", "413", "415", "422"} <= set(colorize["responses"])
    assert "image/png" in colorize["responses"]["200"]["content"]
    for reference in ("ColorizedImage", "Problem", "Decision"):
        assert reference in document["components"]["schemas"]


@pytest.mark.slow
def test_not_ready_before_warmup() -> None:
    app = create_app(Settings(jobs=False))
    assert app.state.engine.state != "ready"
    with TestClient(app) as client:
        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.get("/readyz").json() == {"status": "ready"}
    assert app.state.engine.state != "ready"


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


def test_405_lists_allowed_methods_and_health_paths_accept_head(client: TestClient) -> None:
    assert client.get("/v1/colorize").headers["allow"] == "POST"
    for path in ("/", "/livez", "/readyz"):
        assert client.head(path).status_code == 200


def test_concurrent_pictures_in_memory_are_limited(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    engine = client.app.state.engine  # type: ignore[attr-defined]
    slots, concurrent, peak = engine._foreground, 0, 0

    class CountingSemaphore:
        async def acquire(self) -> None:
            nonlocal concurrent, peak
            await slots.acquire()
            concurrent += 1
            peak = max(peak, concurrent)

        def release(self) -> None:
            nonlocal concurrent
            concurrent -= 1
            slots.release()

    limit = slots._value
    engine._foreground = CountingSemaphore()
    try:
        with ThreadPoolExecutor(12) as pool:
            codes = list(pool.map(lambda _: post_picture(client, encoded(photographs["cat"])).status_code, range(24)))
    finally:
        engine._foreground = slots
    assert codes == [200] * 24
    assert 1 <= peak <= limit < 12


def test_concurrent_requests_get_their_own_pictures(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode
) -> None:
    expected = {name: post_picture(client, encoded(picture)).content for name, picture in photographs.items()}
    with ThreadPoolExecutor(8) as pool:
        names = list(photographs) * 3
        together = pool.map(lambda name: post_picture(client, encoded(photographs[name])).content, names)
        for name, content in zip(names, together, strict=True):
            assert content == expected[name]
    assert len(set(expected.values())) == len(expected)
    assert np.array(Image.open(io.BytesIO(expected["cat"]))).shape == (133, 200, 3)


def test_unexpected_exception_is_500_problem_without_details(
    client: TestClient, photographs: dict[str, Image.Image], encoded: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.engine.ensemble, "predict", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    response = post_picture(TestClient(client.app, raise_server_exceptions=False), encoded(photographs["cat"]))
    assert (response.status_code, response.json()["type"]) == (500, "urn:chromaroute:problem:internal-error")
    assert "division" not in response.text
