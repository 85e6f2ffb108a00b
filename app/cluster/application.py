"""The service as an application of Ray Serve: replicas of the HTTP API, and replicas of the networks.

serve run app.cluster.application:application networks_replicas=2
serve build app.cluster.application:application -o chromaroute.yaml
"""

import asyncio
import logging
from typing import Any

from fastapi import FastAPI
from ray import serve

from app.cluster.networks import DEPLOYMENT, autoscaling, networks_deployment
from app.cluster.options import ClusterOptions
from app.cluster.remote_ensemble import RemoteEnsemble
from app.inference.engine import Engine
from app.main import create_app
from app.settings import Settings, load_settings
from models.bundle_header import read_header
from models.errors import BundleError

log = logging.getLogger("chromaroute")


def application(arguments: dict[str, Any]) -> serve.Application:
    """The application for `serve run` and `serve build`, with the settings of this process.

    Raises:
        OptionError: an argument is unknown or not valid.
        SettingsError: a setting is not valid.
    """
    return build(ClusterOptions.parse(arguments), load_settings())


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
        return create_app(own, lambda settings: RemoteEnsemble(settings.bundle, handle))

    class Api:
        def __init__(self, networks: object) -> None:
            """Depends on the deployment of the networks."""

        async def check_health(self) -> None:
            """Serve the bundle that is in the folder now, because a request to reload it reaches only one of the replicas."""
            engine: Engine = self.app.state.engine  # type: ignore[attr-defined]
            if engine.state == "ready":
                await follow_bundle(engine)

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


async def follow_bundle(engine: Engine) -> None:
    """Reload the bundle if that of the folder has changed; one that cannot be served changes nothing."""
    try:
        found = await asyncio.to_thread(read_header, engine.settings.bundle)
        if found.digest != engine.ensemble.bundle.digest:
            await engine.reload()
    except BundleError as error:
        log.error("the bundle was not reloaded: %s", error)
