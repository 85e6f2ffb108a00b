"""The metrics of all replicas of the API in one place: Ray exports them from every machine, with the replica as a label."""

from typing import Any

from prometheus_client import CollectorRegistry
from ray.util.metrics import Gauge


class MetricsExport:
    """Copies the metrics of this replica to Ray, whose agents Prometheus finds by the discovery file of Ray.

    All of them are gauges there: Ray has no counters that take a total. The functions of PromQL treat both alike.

    Args:
        registry: the metrics.
        replica: the value of the label `replica`.
    """

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        self._registry, self._replica = registry, replica
        self._gauges: dict[str, Any] = {}

    def update(self) -> None:
        """Copy the values of now; those of the process itself are exported by Ray."""
        for metric in self._registry.collect():
            if not metric.name.startswith("chromaroute_"):
                continue
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    gauge = self._gauge(sample.name, metric.documentation, tuple(sample.labels))
                    gauge.set(sample.value, {**sample.labels, "replica": self._replica})

    def _gauge(self, name: str, description: str, labels: tuple[str, ...]) -> Any:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description, tag_keys=(*labels, "replica"))
        return self._gauges[name]
