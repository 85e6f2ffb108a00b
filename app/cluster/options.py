"""How the service is laid out on a cluster: the arguments of `serve run app.cluster.application:application`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.settings import Settings, SettingsError
from models.errors import OptionError


class ClusterOptions(BaseModel):
    """Replicas, resources and batches.

    An `api` replica speaks HTTP, decodes and encodes pictures, and runs jobs; a `networks` replica runs networks. The other
    settings are those of the service, from the environment (docs/operations.md).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_replicas: int = Field(1, ge=1, description="least number of replicas that speak HTTP")
    max_api_replicas: int = Field(0, ge=0, description="most of them, by the number of requests; 0 for no autoscaling")
    api_cpus: float = Field(1.0, ge=0, description="cores of each")
    networks_replicas: int = Field(1, ge=1, description="least number of replicas that run networks")
    max_networks_replicas: int = Field(0, ge=0, description="most of them, by the length of their queues; 0 for no autoscaling")
    networks_cpus: float = Field(1.0, ge=0, description="cores of each")
    networks_gpus: float = Field(0.0, ge=0, description="GPUs of each, such as 0.5; set CHROMAROUTE_DEVICE=cuda")
    batch: int = Field(8, ge=1, description="most pictures that a replica takes at a time")
    ongoing: int = Field(16, ge=1, description="requests that a replica of networks has at a time; more wait")
    queued: int = Field(256, ge=1, description="requests that may wait for networks; more are answered with 503")
    bundles: int = Field(3, ge=1, description="bundles that a replica keeps; the least recently used is evicted")

    @classmethod
    def parse(cls, arguments: Mapping[str, Any]) -> "ClusterOptions":
        """The options of `key=value` arguments.

        Raises:
            OptionError: an argument is unknown or not valid.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            known = ", ".join(cls.model_fields)
            raise OptionError(name, first["input"], f"one of {known}" if name not in cls.model_fields else first["msg"]) from error

    def check(self, settings: Settings) -> None:
        """Raise a SettingsError if several API replicas have no database to share their jobs in."""
        if max(self.api_replicas, self.max_api_replicas) > 1 and settings.jobs and not settings.database:
            raise SettingsError(
                "several API replicas share their jobs in PostgreSQL: set CHROMAROUTE_DATABASE, or CHROMAROUTE_JOBS=0 for no jobs."
            )
