"""An ensemble whose networks run in replicas elsewhere on the cluster. Only what the networks read of a picture is sent."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from app.cluster.networks import BundleReference, Call
from app.errors import ServiceError
from app.tracing import traceparent
from models.bundle_header import BundleHeader, read_header
from models.decision import Decision
from models.ensemble import follow_hints, luma_at
from models.errors import CheckpointError
from models.hints import check_points
from models.imaging import Picture
from models.lab import Float32Array
from models.manifest import InputCard
from models.options import Hint, PointOptions, RouteOptions
from models.picture_inputs import PictureInputs
from models.plausible import PlausibleColor, plausible_colors

ATTEMPTS = 6  # of a call whose replica is lost; calls have no effect, so that they can be repeated
PAUSE = 0.2  # seconds before the second attempt, and twice as much before each further one

LOST = (RayActorError, DeploymentUnavailableError, WorkerCrashedError, ObjectLostError, NodeDiedError)

log = logging.getLogger("chromaroute")


class RemoteEnsemble:
    """As `models.ensemble.Ensemble`, with methods that wait for replicas.

    Args:
        folder: of the bundle, which all nodes see.
        handle: of the deployment of `app.cluster.networks`.

    Raises:
        BundleError: the bundle cannot be read.
    """

    def __init__(self, folder: Path, handle: DeploymentHandle[Any]) -> None:
        self.bundle: BundleHeader = read_header(folder)
        self._folder, self._handle = folder, handle
        self._networks: dict[str, list[tuple[InputCard, int]]] = {}

    async def route(self, picture: Picture, options: RouteOptions | None = None) -> Decision:
        decision: Decision = await self._run("route_inputs", picture, (), options or RouteOptions())
        return decision

    async def predict(
        self, picture: Picture, options: RouteOptions | None = None, hints: Sequence[Hint] = ()
    ) -> tuple[Float32Array, Decision]:
        check_points("hints", hints, picture.width, picture.height)
        predicted = await self._run("predict_inputs", picture, hints, options or RouteOptions())
        return await asyncio.to_thread(follow_hints, picture, predicted, hints)

    async def predict_variants(self, picture: Picture, options: RouteOptions, count: int) -> list[tuple[Float32Array, Decision]]:
        variants: list[tuple[Float32Array, Decision]] = await self._run("variants_of_inputs", picture, (), options, count)
        return variants

    async def plausible_colors(self, picture: Picture, options: PointOptions) -> tuple[list[PlausibleColor], Decision]:
        check_points("point", [options], picture.width, picture.height)
        distributions, decision = await self._run("distributions_of_inputs", picture, (), options)
        return plausible_colors(luma_at(picture, options), distributions, options.count), decision

    async def _run(self, method: str, picture: Picture, hints: Sequence[Hint], *arguments: object) -> Any:
        bundle = str(BundleReference(self._folder, self.bundle.digest))
        if bundle not in self._networks:
            self._networks = {bundle: await self._call(bundle, "networks_of_inputs")}
        networks = self._networks[bundle]
        inputs = await asyncio.to_thread(lambda: PictureInputs.of(picture, hints).without_luma(networks))
        try:
            return await self._call(bundle, method, inputs, *arguments)
        except CheckpointError:  # the bundle was replaced
            self.bundle = await asyncio.to_thread(read_header, self._folder)
            if str(BundleReference(self._folder, self.bundle.digest)) == bundle:
                raise
            return await self._run(method, picture, hints, *arguments)

    async def _call(self, bundle: str, method: str, *arguments: object) -> Any:
        """The result of a call on any replica, one that has the bundle if possible.

        Raises:
            ServiceError: too many calls wait, or no replica has answered in several attempts.
        """
        handle = self._handle.options(multiplexed_model_id=bundle)
        for attempt in range(ATTEMPTS):
            try:
                outcome = await handle.run.remote(Call(bundle, method, arguments, traceparent()))
            except BackPressureError as error:
                raise ServiceError("overloaded", "too many pictures wait for the networks: try again after 1 second.") from error
            except LOST as error:
                log.warning("a replica of the networks was lost (%s)", type(error).__name__)
                await asyncio.sleep(PAUSE * 2**attempt)
                continue
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        raise ServiceError("overloaded", "the networks do not answer: try again after 1 second.")
