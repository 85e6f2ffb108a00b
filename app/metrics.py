"""Prometheus metrics: a registry of the application's own, with few labels."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from models.decision import Decision

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "chromaroute_requests", "Requests by path and status.", ["method", "path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "chromaroute_request_seconds", "Seconds to the end of the response.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.stages = Histogram(
            "chromaroute_stage_seconds",
            "Seconds of each stage of a picture; `wait` is the time in the queue.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "chromaroute_requests_in_flight", "Uploads and votes that are not answered yet.", registry=self.registry
        )
        self.waiting = Gauge("chromaroute_queue_depth", "Single pictures that wait for a slot.", registry=self.registry)
        self.refused = Counter(
            "chromaroute_refused", "Requests that were refused, timed out or were disconnected.", ["reason"], registry=self.registry
        )
        self.routes = Counter(
            "chromaroute_routes", "Pictures by category and reason.", ["category", "reason"], registry=self.registry
        )
        self.fallbacks = Counter("chromaroute_fallbacks", "Pictures that fell back.", registry=self.registry)
        self.bundle = Gauge("chromaroute_bundle_info", "The bundle that is served.", ["bundle"], registry=self.registry)
        self.job_items = Counter("chromaroute_job_items", "Items of jobs by outcome.", ["outcome"], registry=self.registry)
        self.job_backlog = Gauge("chromaroute_job_backlog", "Items of jobs that are not finished.", registry=self.registry)

    def observe(self, decision: Decision) -> None:
        """Count a picture that was routed or colorized."""
        for stage, milliseconds in decision.timings_ms.items():
            self.stages.labels(stage).observe(milliseconds / 1000)
        self.routes.labels(decision.category, decision.reason).inc()
        self.fallbacks.inc(decision.fell_back)

    def set_bundle(self, label: str) -> None:
        """Set the bundle that is served from now on."""
        self.bundle.clear()
        self.bundle.labels(label).set(1)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
