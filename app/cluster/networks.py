"""Replicas that run the networks of bundles, in batches that Ray Serve collects."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve

from app.cluster.options import ClusterOptions
from app.tracing import configure_tracing, span
from models.engine_options import EngineOptions
from models.ensemble import Ensemble
from models.errors import CheckpointError, ChromarouteError
from models.loading import load_ensemble

DEPLOYMENT = "networks"


@dataclass(frozen=True)
class BundleReference:
    """A bundle as it was when its manifest was read: its folder, which all nodes see, and its digest."""

    folder: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.digest}@{self.folder}"

    @classmethod
    def parse(cls, text: str) -> "BundleReference":
        """The reference of its text."""
        digest, _, folder = text.partition("@")
        return cls(Path(folder), digest)


@dataclass(frozen=True)
class Call:
    """A method of `Ensemble` that takes inputs, and its arguments; `parent` is the trace that it belongs to."""

    bundle: str
    method: str
    arguments: tuple[Any, ...]
    parent: str = ""


def networks_deployment(cluster: ClusterOptions, engine: EngineOptions) -> serve.Application:
    """The deployment of replicas that run networks."""

    class Networks:
        def __init__(self) -> None:
            configure_tracing()
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="network")

        @serve.multiplexed(max_num_models_per_replica=cluster.bundles)  # type: ignore[untyped-decorator]
        async def ensemble(self, bundle: str) -> Ensemble:
            return await asyncio.to_thread(_load, BundleReference.parse(bundle), engine)

        @serve.batch(max_batch_size=cluster.batch, batch_wait_timeout_s=0.0)
        async def run(self, calls: Sequence[Call]) -> list[Any]:
            """The results of calls, or the errors that they raise."""
            outcomes: list[Any] = []
            for call in calls:
                try:
                    ensemble = await self.ensemble(call.bundle)
                    method = getattr(ensemble, call.method)
                    with span(call.method, call.parent):
                        outcomes.append(await asyncio.get_running_loop().run_in_executor(self._pool, method, *call.arguments))
                except ChromarouteError as error:
                    outcomes.append(error)
            return outcomes

    scaling: dict[str, Any] = {"num_replicas": cluster.networks_replicas}
    if cluster.max_networks_replicas > cluster.networks_replicas:
        scaling = {"autoscaling_config": autoscaling(cluster.networks_replicas, cluster.max_networks_replicas, cluster.batch)}
    deployment = serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=cluster.ongoing,
        max_queued_requests=cluster.queued,
        ray_actor_options={"num_cpus": cluster.networks_cpus, "num_gpus": cluster.networks_gpus},
        **scaling,
    )
    return deployment(Networks).bind()


def autoscaling(least: int, most: int, target: float) -> dict[str, Any]:
    """The configuration of Ray Serve that scales by the requests that each replica has."""
    return {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": target}


def _load(bundle: BundleReference, options: EngineOptions) -> Ensemble:
    """The bundle of a reference.

    Raises:
        CheckpointError: there is another one in the folder by now.
    """
    ensemble = load_ensemble(bundle.folder, options)
    if ensemble.bundle.digest != bundle.digest:
        raise CheckpointError(f"{bundle.folder} has been replaced by {ensemble.bundle.label}.")
    return ensemble
