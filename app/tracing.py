"""Traces with OpenTelemetry, if the extra `tracing` is installed: a span for each request, stage, job item and remote call.

The standard `OTEL_*` variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`,
`OTEL_RESOURCE_ATTRIBUTES` and the others have their usual meaning. Without them, and without the extra, spans cost next to nothing.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:  # the extra is not installed
    trace = propagate = None  # type: ignore[assignment]

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

log = logging.getLogger("chromaroute")


def configure_tracing() -> None:
    """Send spans to the collector that the environment names, if it names one; once for each process."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        log.warning('traces are off, because %s is missing: pip install "chromaroute[tracing]"', error.name)
        return
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", "chromaroute")
    provider = TracerProvider(resource=Resource.create())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int | float) -> Iterator[None]:
    """A span around the block, in the current trace, or in that of a `traceparent`."""
    if trace is None:
        yield
        return
    context = propagate.extract({"traceparent": parent}) if parent else None
    with trace.get_tracer("chromaroute").start_as_current_span(name, context, attributes=attributes):
        yield


def traceparent() -> str:
    """The current span, for another process, as W3C Trace Context writes it; empty if there is none."""
    if trace is None:
        return ""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent", "")


def log_fields() -> Mapping[str, str]:
    """The ids of the current trace and span, for log lines; empty if there is no trace."""
    parts = traceparent().split("-")
    return {"trace_id": parts[1], "span_id": parts[2]} if len(parts) == 4 else {}


class Tracing:
    """ASGI middleware: a span for each request, in the trace of the client if it sent a `traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or trace is None:
            await self.app(scope, receive, send)
            return
        context = propagate.extract(Headers(scope=scope))
        method, path = scope["method"], scope["policy"].path
        attributes: dict[str, Any] = {"http.request.method": method, "http.route": path}
        tracer = trace.get_tracer("chromaroute")
        kind = trace.SpanKind.SERVER
        with tracer.start_as_current_span(f"{method} {path}", context, kind, attributes=attributes) as current:

            async def send_with_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        current.set_status(trace.StatusCode.ERROR)
                await send(message)

            await self.app(scope, receive, send_with_status)
