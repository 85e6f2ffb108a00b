"""Traces: one for a request of a client, with a span for each stage, continued by jobs, and sent to a collector."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.app.helpers import post_job, post_picture, wait_for_end
from tests.server_process import ROOT, serving, wait_until

TRACE, SPAN = "1a" * 16, "2b" * 8
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans of this process."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name: provider.get_tracer(name))
    yield exporter
    provider.shutdown()


def test_request_continues_the_trace_of_its_client_with_a_span_for_each_stage(
    client: TestClient, cat: bytes, spans: InMemorySpanExporter
) -> None:
    post_picture(client, cat, headers={"traceparent": PARENT}).raise_for_status()
    found = {span.name: span for span in spans.get_finished_spans()}
    assert found.keys() >= {"POST /v1/colorize", "wait", "decode", "predict", "render"}
    assert {format(span.context.trace_id, "032x") for span in found.values()} == {TRACE}
    request = found["POST /v1/colorize"]
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == SPAN
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert found["predict"].parent is not None
    assert found["predict"].parent.span_id == request.context.span_id


def test_items_of_a_job_belong_to_the_trace_that_created_it(
    job_client: TestClient, cat: bytes, spans: InMemorySpanExporter
) -> None:
    created = post_job(job_client, {"cat.jpg": cat}, traceparent=PARENT)
    wait_for_end(job_client, created.headers["location"])
    names = [span.name for span in spans.get_finished_spans() if format(span.context.trace_id, "032x") == TRACE]
    assert {"POST /v1/jobs", "job item", "predict"} <= set(names)


def test_log_lines_have_the_ids_of_the_trace(
    client: TestClient, cat: bytes, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "chromaroute.access"):
        post_picture(client, cat, headers={"traceparent": PARENT})
    (record,) = [record for record in caplog.records if record.name == "chromaroute.access"]
    assert record.__dict__["trace_id"] == TRACE


@pytest.mark.server
@pytest.mark.slow
def test_spans_are_sent_to_the_collector_that_the_environment_names(
    tmp_path: Path, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[Any] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.extend(
                span
                for each in ExportTraceServiceRequest.FromString(body).resource_spans
                for part in each.scope_spans
                for span in part.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with serving(tmp_path) as server:
        answer = httpx.post(f"{server.address}/v1/colorize", files={"file": cat}, headers={"traceparent": PARENT}, timeout=60)
        assert answer.status_code == 200
        wait_until(lambda: "predict" in [span.name for span in received if span.trace_id.hex() == TRACE], 20)
    collector.shutdown()
    collector.server_close()


def test_service_works_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from app.tracing import configure_tracing, log_fields, span\n"
        "configure_tracing()\n"
        "with span('a'): print(dict(log_fields()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert json.loads(done.stdout) == {}, done.stderr
