"""The service as an application of Ray Serve: replicas of the HTTP API, and replicas of the networks.

serve run app.cluster.application:application networks_replicas=2
serve build app.cluster.application:default -o chromaroute.yaml
"""

import asyncio
import logging
from typing import Any

from fastapi import FastAPI
from ray import serve

from app.cluster.metrics import MetricsExport
from app.cluster.networks import DEPLOYMENT, autoscaling, networks_deployment
from app.cluster.options import ClusterOptions
from app.cluster.remote_ensemble import RemoteEnsemble
from app.inference.engine import Engine
from app.main import create_app
from app.settings import Settings, check_exposure, load_settings
from models.bundle_header import read_header
from models.errors import BundleError

log = logging.getLogger("chromaroute")


def application(arguments: dict[str, Any]) -> serve.Application:
    """The application for `serve run`, with the settings of its process, and for `serve deploy`, with those of a node.

    Raises:
        OptionError: an argument is unknown or not valid.
        SettingsError: a setting is not valid, or anyone could use the service.
    """
    settings = load_settings()
    check_exposure(settings, "the addresses of the cluster")
    return build(ClusterOptions.parse(arguments), settings)


def __getattr__(name: str) -> serve.Application:
    """`default`, the application without arguments: `serve build` needs an attribute, and nothing shall happen at import."""
    if name == "default":
        return application({})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build(cluster: ClusterOptions, settings: Settings) -> serve.Application:
    """The application with these settings.

    Raises:
        SettingsError: several API replicas would need a database for their jobs.
    """
    cluster.check(settings)

    def api() -> FastAPI:
        handle = serve.get_deployment_handle(DEPLOYMENT, app_name=serve.get_replica_context().app_name)
        own = settings
        if settings.database:  # replicas share the jobs; otherwise there is one, whose jobs its successor continues
            own = settings.model_copy(update={"replica": serve.get_replica_context().replica_id.unique_id})
        return create_app(own, lambda folder: RemoteEnsemble(folder, handle))

    class Api:
        def __init__(self, networks: object) -> None:
            """Depends on the deployment of the networks."""
            self._export: MetricsExport | None = None

        async def check_health(self) -> None:
            """Serve the bundles that are in the folders now, because a request to reload them reaches only one of the replicas.

            The metrics are exported at the same interval.
            """
            engine: Engine = self.app.state.engine  # type: ignore[attr-defined]
            if self._export is None:
                self._export = MetricsExport(engine.metrics.registry, serve.get_replica_context().replica_id.unique_id)
            try:
                await asyncio.to_thread(self._export.update)
            except Exception:  # a replica without exported metrics still serves
                log.exception("the metrics were not exported")
            if engine.state == "ready":
                await follow_bundles(engine)

    scaling: dict[str, Any] = {"num_replicas": cluster.api_replicas}
    if cluster.max_api_replicas > cluster.api_replicas:
        target = settings.max_requests / 2
        scaling = {"autoscaling_config": autoscaling(cluster.api_replicas, cluster.max_api_replicas, target)}
    deployment = serve.deployment(
        name="api",
        max_ongoing_requests=4 * settings.max_requests,  # more than the service admits, so that it answers all of them itself
        ray_actor_options={"num_cpus": cluster.api_cpus},
        graceful_shutdown_timeout_s=settings.deadline + 10,
        **scaling,
    )
    return deployment(serve.ingress(api)(Api)).bind(networks_deployment(cluster, settings.engine_options))


async def follow_bundles(engine: Engine) -> None:
    """Load the bundles anew whose folders have changed; one that cannot be served changes nothing."""
    try:
        found = await asyncio.to_thread(read_header, engine.settings.bundle)
        if found.digest != engine.ensemble.bundle.digest:
            await engine.reload()
        else:
            await engine.named.follow()
    except BundleError as error:
        log.error("the bundle was not reloaded: %s", error)
