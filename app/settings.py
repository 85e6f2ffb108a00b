"""Deployment settings: environment variables `CHROMAROUTE_*`, validated at start."""

import os
import re
import socket
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.bundle_header import EVERYDAY
from models.engine_options import EngineName, EngineOptions, Precision, default_cache_dir
from models.errors import ChromarouteError
from models.imaging import MAX_PIXELS

PREFIX = "CHROMAROUTE_"
DECODER_LIMIT = 178_956_970  # pixels; the limit of Pillow


class SettingsError(ChromarouteError):
    """A setting is unknown, not valid, or not safe."""


class Settings(BaseSettings):
    """The settings of a deployment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    bundle: Path = Field(EVERYDAY, description="folder of the bundle that is served")
    bundles: Path | None = Field(None, description="folder of further bundles, one of which an API key may name")
    bundles_kept: int = Field(3, ge=1, description="most of those bundles in memory; the least recently used are evicted")
    engine: EngineName = Field(
        "auto", description="runs the networks: `openvino` on processors, `torch` on any device; `auto` is OpenVINO on a processor"
    )
    device: str = Field("cpu", description="device of torch: `cpu`, `cuda`, `mps`")
    precision: Precision = Field(
        "auto", description="`float32` or `bfloat16`; `auto` is bfloat16 with OpenVINO on processors that support it"
    )
    threads: int = Field(0, ge=0, description="threads of the networks; 0 for all cores")
    cache_dir: Path = Field(
        default_factory=default_cache_dir, description="folder for the models that OpenVINO needs, made when a bundle is first used"
    )
    expert_bytes: int | None = Field(
        None,
        gt=0,
        description="memory budget for experts, for bundles larger than memory; the least recently used are evicted",
    )

    max_bytes: int = Field(200 * 2**20, gt=0, description="maximum size of the file of a picture, in bytes")
    max_pixels: int = Field(MAX_PIXELS, gt=0, le=DECODER_LIMIT, description="maximum number of pixels of a picture")
    decode_seconds: float = Field(
        20, gt=0, description="seconds of processor time that decoding a picture may take; small pictures get less, from 2 seconds"
    )
    max_items: int = Field(1000, gt=0, description="maximum number of items of a batch or a job")
    max_batch_bytes: int = Field(2 * 2**30, gt=0, description="maximum size of the request body of a batch or a job, in bytes")
    max_unpacked_bytes: int = Field(4 * 2**30, gt=0, description="maximum unpacked size of an archive, in bytes")

    max_requests: int = Field(
        64,
        gt=0,
        description="maximum number of pictures in progress or waiting, and an eighth of it for batches; more get 503",
    )
    deadline: float = Field(60, gt=0, description="seconds from the first byte of a picture to its response; then 504")
    drain: float = Field(1, ge=0, description="seconds between SIGTERM, which turns `/readyz` to 503, and closing the socket")

    data_dir: Path = Field(Path("data"), description="folder of jobs, their results, and the votes of a survey")
    jobs: bool = Field(True, description="1 offers jobs; with 0 only the votes of a survey are written to `DATA_DIR`")
    max_backlog: int = Field(100_000, gt=0, description="maximum number of unfinished items of all jobs; more get 503")
    quota_bytes: int = Field(20 * 2**30, gt=0, description="bytes that all jobs of one API key may hold on the disk, with results")
    job_hours: float = Field(24, gt=0, description="hours for which the results of a finished job are kept")
    survey: Path | None = Field(None, description="folder of a blind survey, served at `/survey`")
    database: str = Field("", description="`postgresql://...` if several replicas share the jobs; otherwise SQLite in `DATA_DIR`")
    replica: str = Field(
        default_factory=socket.gethostname, pattern=r"^[\w.-]{1,64}$", description="name of this process among the replicas"
    )

    webhook_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins that jobs may call when they have ended, separated by commas; none by default"
    )
    webhook_secret: str = Field(
        "", repr=False, description="signs webhooks: `whsec_` and 24 to 64 random bytes in base64; needed with `WEBHOOK_ORIGINS`"
    )
    webhook_private: bool = Field(False, description="1 allows webhooks to hosts with private addresses")

    keys: Path | None = Field(None, description="file of API keys, created by `chromaroute key add`")
    allow_anonymous: bool = Field(False, description="1 allows listening without keys on addresses other than loopback")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins of browsers that may call, separated by commas"
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names under which the server is reached, with or without port, separated by commas; any by default"
    )
    log_format: Literal["text", "json"] = Field("text", description="`text`, or `json` with one object per line")

    @property
    def engine_options(self) -> EngineOptions:
        """Those of the engine that runs the networks."""
        return EngineOptions(self.engine, self.device, self.precision, self.threads, self.expert_bytes, self.cache_dir)

    def folder_of(self, name: str) -> Path:
        """The folder of the bundle that an API key names; that of `bundle` if the name is empty.

        Raises:
            SettingsError: no folder of further bundles is set.
        """
        if not name:
            return self.bundle
        if self.bundles is None:
            raise SettingsError(f"there is no folder of the bundle {name!r}: set {PREFIX}BUNDLES to the folder that contains it.")
        return self.bundles / name

    @field_validator("cors_origins", "hosts", "webhook_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins", "webhook_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [origin for origin in value if not re.fullmatch(r"https?://[^/]+", origin)]:
            raise ValueError(f"{wrong[0]!r} is not an origin: give scheme and host, such as https://album.example")
        return tuple(map(str.lower, value))

    @model_validator(mode="after")
    def _check_webhooks(self) -> "Settings":
        if self.webhook_origins and not _is_webhook_secret(self.webhook_secret):
            raise ValueError(
                "CHROMAROUTE_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64, such as the output of: "
                "echo whsec_$(openssl rand -base64 32)"
            )
        return self

    @field_validator("database")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if value and not value.startswith("postgresql://"):
            raise ValueError("give a URL that begins with postgresql://, or nothing for SQLite")
        return value


def load_settings(**given: object) -> Settings:
    """The settings of the environment; arguments that are not None take precedence.

    Raises:
        SettingsError: the value of a variable is not valid, or there is no setting of that name.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    if unknown := sorted(_prefixed(os.environ) - known):
        raise SettingsError(f"there is no setting {', '.join(unknown)}: the settings are {', '.join(sorted(known))}.")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(item['loc'][0]).upper()} is {item['input']!r}: {item['msg']}" if item["loc"] else str(item["msg"])
            for item in error.errors()
        )
        raise SettingsError(f"the settings are not valid: {problems}.") from error


def check_exposure(settings: Settings, host: str) -> None:
    """Refuse to listen on a network without keys, unless that is allowed explicitly.

    Raises:
        SettingsError: the host is not loopback, there are no keys, and anonymous requests are not allowed.
    """
    if _is_loopback(host) or settings.keys or settings.allow_anonymous:
        return
    raise SettingsError(
        f"listening on {host} without API keys would let anyone who can reach it use it: create a key (chromaroute key add NAME) "
        f"and set {PREFIX}KEYS to its file, or set {PREFIX}ALLOW_ANONYMOUS=1 if something else restricts access."
    )


def _is_webhook_secret(secret: str) -> bool:
    try:
        return secret.startswith("whsec_") and 24 <= len(b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _prefixed(environment: Mapping[str, str]) -> set[str]:
    return {name.upper() for name in environment if name.upper().startswith(PREFIX)}
