"""What Prometheus reads at /metrics: few metrics with few labels, in a registry of the application's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from models.ensemble import Decision

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
            "chromaroute_request_seconds", "Seconds to the end of the answer.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.stages = Histogram(
            "chromaroute_stage_seconds",
            "Seconds of each stage of a picture; `wait` is the time in the queue.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inside = Gauge("chromaroute_requests_inside", "Requests that send, wait for or get a picture.", registry=self.registry)
        self.waiting = Gauge(
            "chromaroute_queue_depth", "Pictures of single requests that wait for a place.", registry=self.registry
        )
        self.refused = Counter("chromaroute_refused", "Requests that were refused or given up.", ["reason"], registry=self.registry)
        self.routes = Counter(
            "chromaroute_routes", "Pictures by category and reason.", ["category", "reason"], registry=self.registry
        )
        self.fallbacks = Counter("chromaroute_fallbacks", "Pictures that the fallback painted.", registry=self.registry)
        self.bundle = Gauge("chromaroute_bundle_info", "The bundle that is served.", ["bundle"], registry=self.registry)
        self.job_pictures = Counter("chromaroute_job_pictures", "Pictures of jobs by outcome.", ["outcome"], registry=self.registry)
        self.job_backlog = Gauge("chromaroute_job_backlog", "Pictures of jobs that are not finished.", registry=self.registry)

    def decided(self, decision: Decision) -> None:
        """Count a picture that was routed or painted."""
        for stage, milliseconds in decision.timings_ms.items():
            self.stages.labels(stage).observe(milliseconds / 1000)
        self.routes.labels(decision.category, decision.reason).inc()
        self.fallbacks.inc(decision.fell_back)

    def serve(self, bundle: str) -> None:
        """Name the bundle that is served from now on."""
        self.bundle.clear()
        self.bundle.labels(bundle).set(1)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
