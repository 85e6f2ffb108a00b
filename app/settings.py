"""Deployment settings: environment variables `CHROMAROUTE_*`, checked at the start."""

import os
import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.bundle import EVERYDAY
from models.errors import ChromarouteError
from models.imaging import MAX_PIXELS
from models.runtime import Precision

PREFIX = "CHROMAROUTE_"
DECODER_LIMIT = 178_956_970  # pixels; Pillow refuses more


class SettingsError(ChromarouteError):
    """A setting that is unknown, outside its valid values, or not safe."""


class Settings(BaseSettings):
    """What a deployment may choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    bundle: Path = Field(EVERYDAY, description="folder of the bundle that is served")
    device: str = Field("cpu", description="cpu, cuda, mps ...")
    precision: Precision = Field("float32", description="float32, or bfloat16 where the processor has it")
    threads: int = Field(0, ge=0, description="threads of the networks; 0 leaves it to torch")
    expert_bytes: int | None = Field(None, gt=0, description="memory for experts, in bytes; the least recently used leave first")

    max_bytes: int = Field(200 * 2**20, gt=0, description="largest picture as a file, in bytes")
    max_pixels: int = Field(MAX_PIXELS, gt=0, le=DECODER_LIMIT, description="largest picture, in pixels")
    max_items: int = Field(1000, gt=0, description="most pictures of a batch or a job")
    max_batch_bytes: int = Field(2 * 2**30, gt=0, description="largest body of a batch or a job, in bytes")
    max_unpacked_bytes: int = Field(4 * 2**30, gt=0, description="most that an archive may unpack to, in bytes")

    max_requests: int = Field(64, gt=0, description="single pictures at once, those that wait included; an eighth as many batches")
    deadline: float = Field(60, gt=0, description="seconds from a picture's first byte to its answer; later is 504")
    drain: float = Field(1, ge=0, description="seconds between SIGTERM, which turns /readyz to 503, and the end of listening")

    data_dir: Path = Field(Path("data"), description="folder of what outlives the process: jobs and their results")
    jobs: bool = Field(True, description="whether jobs are offered; without them nothing is written to data_dir")
    max_backlog: int = Field(100_000, gt=0, description="most pictures of jobs that are not finished; more get 503")
    job_hours: float = Field(24, gt=0, description="hours that the results of a finished job are kept")
    survey: Path | None = Field(None, description="folder of a blind survey, served at /survey; votes are kept in data_dir")
    database: str = Field("", description="postgresql://... for several replicas; SQLite in data_dir if empty")
    replica: str = Field(
        default_factory=socket.gethostname, pattern=r"^[\w.-]{1,64}$", description="name of this process among the replicas"
    )

    keys: Path | None = Field(None, description="file of API keys, made by `chromaroute key add`")
    allow_anonymous: bool = Field(False, description="listen on other addresses than loopback without keys")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="origins that browsers may call from, by commas")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for collectors")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _by_commas(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [origin for origin in value if not re.fullmatch(r"https?://[^/]+", origin)]:
            raise ValueError(f"{wrong[0]!r} is no origin: give scheme and host, such as https://album.example")
        return value

    @field_validator("database")
    @classmethod
    def _postgresql(cls, value: str) -> str:
        if value and not value.startswith("postgresql://"):
            raise ValueError("give a URL that begins with postgresql://, or nothing for SQLite")
        return value


def load_settings(**given: object) -> Settings:
    """The settings of the environment, under those that are given and not None.

    Raises:
        SettingsError: a variable has an invalid value, or there is an unknown one (a typing error would change nothing, silently).
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    if strangers := sorted(_ours(os.environ) - known):
        raise SettingsError(f"there is no setting {', '.join(strangers)}: the settings are {', '.join(sorted(known))}.")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(each['loc'][0]).upper()} is {each['input']!r}: {each['msg']}" for each in error.errors()
        )  # fmt: skip
        raise SettingsError(f"the settings are not valid: {problems}.") from error


def check_exposure(settings: Settings, host: str) -> None:
    """Refuse to listen to a network without keys, unless that was asked for.

    Raises:
        SettingsError: the host is not loopback, and neither are there keys nor are anonymous requests allowed.
    """
    if _is_loopback(host) or settings.keys or settings.allow_anonymous:
        return
    raise SettingsError(
        f"listening on {host} without API keys would let anyone who reaches it use it: make a key (chromaroute key add NAME) "
        f"and set {PREFIX}KEYS to its file, or set {PREFIX}ALLOW_ANONYMOUS=1 where something else keeps strangers away."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ours(environment: Mapping[str, str]) -> set[str]:
    return {name.upper() for name in environment if name.upper().startswith(PREFIX)}
