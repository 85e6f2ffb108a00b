import json
import logging
import re
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.server_process import serving


def test_metrics_count_requests_stages_and_routes(client: TestClient, cat: bytes) -> None:
    client.post("/v1/colorize", files={"file": cat})
    client.post("/v1/colorize", files={"file": b"no picture"})
    client.request("BREW", "/v1/colorize")
    client.get("/some/unknown/path")
    text = client.get("/metrics").text
    for line in (
        r'chromaroute_requests_total\{method="POST",path="/v1/colorize",status="200"\} \d',
        r'chromaroute_requests_total\{method="POST",path="/v1/colorize",status="415"\} \d',
        r'chromaroute_requests_total\{method="other",path="[^"]+",status="405"\} 1',
        r'chromaroute_requests_total\{method="GET",path="other",status="404"\} \d',
        r'chromaroute_stage_seconds_bucket\{le="0.005",stage="wait"\}',
        r'chromaroute_stage_seconds_count\{stage="encode"\} \d',
        r"chromaroute_queue_depth 0.0",
        r'chromaroute_routes_total\{category="cat",reason="confident"\} \d',
        r"chromaroute_fallbacks_total \d",
        r'chromaroute_bundle_info\{bundle="everyday@[0-9a-f]{12}"\} 1.0',
        r"process_resident_memory_bytes \d",
    ):
        assert re.search(line, text), line
    assert "unknown" not in text


def test_request_id_is_in_header_and_problem_instance(client: TestClient) -> None:
    assert client.get("/livez", headers={"x-request-id": "scan-7.b"}).headers["x-request-id"] == "scan-7.b"
    for invalid in ("two words", "x" * 65, "é", ""):
        generated = client.get("/livez", headers={"x-request-id": invalid.encode()}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", generated)
    response = client.post("/v1/colorize", files={"file": b"no picture"}, headers={"x-request-id": "scan-8"})
    assert response.json()["instance"] == "urn:chromaroute:request:scan-8"


def test_internal_error_has_request_id_and_traceback_is_logged(
    client: TestClient, cat: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client.app.state.engine.ensemble, "predict", lambda *_: 1 / 0)  # type: ignore[attr-defined]
    with caplog.at_level(logging.INFO, "chromaroute"):
        response = client.post("/v1/colorize", files={"file": cat}, headers={"x-request-id": "scan-9"})
    assert (response.status_code, response.json()["instance"]) == (500, "urn:chromaroute:request:scan-9")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.server
@pytest.mark.slow
def test_json_logs_contain_no_file_names(cat: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, log_format="json", jobs=0) as server:
        httpx2.post(f"{server.address}/v1/colorize", files={"file": ("grandmother.jpg", cat)}, headers={"x-request-id": "scan-1"})
        httpx2.get(f"{server.address}/livez")
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    found = [line for line in lines if line.get("request_id") == "scan-1"]
    assert len(found) == 1
    assert found[0]["path"] == "/v1/colorize"
    assert (found[0]["status"], found[0]["category"], found[0]["reason"]) == (200, "cat", "confident")
    assert found[0]["ms"] > 0
    assert datetime.fromisoformat(found[0]["time"]).tzinfo is not None
    assert not [line for line in lines if "color_message" in line]
    assert "grandmother" not in server.log.read_text()
    assert not [line for line in lines if line.get("path") == "/livez"]  # health checks are too frequent to log


def test_security_headers_are_set_and_cors_is_off_by_default(client: TestClient) -> None:
    for path in ("/", "/docs", "/v1/categories", "/web/page.js", "/nowhere"):
        headers = client.get(path, headers={"origin": "https://elsewhere.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"].partition("style-src")[0]
        assert "access-control-allow-origin" not in headers
    assert client.get("/").headers["content-security-policy"].count("'unsafe") == 0


def test_cors_allows_only_configured_origins(cat: bytes) -> None:
    client = TestClient(create_app(Settings(jobs=False, cors_origins="https://album.example, https://press.example")))
    allowed = client.get("/v1/categories", headers={"origin": "https://press.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://press.example"
    other = client.get("/v1/categories", headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers
    preflight = {"origin": "https://album.example", "access-control-request-method": "POST"}
    assert client.options("/v1/colorize", headers=preflight).status_code == 200
    resumed = preflight | {
        "access-control-request-method": "GET",
        "access-control-request-headers": "range, if-range, if-none-match",
    }
    assert client.options("/v1/jobs/x/result", headers=resumed).status_code == 200
