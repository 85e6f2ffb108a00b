"""Deployment settings: environment variables `CHROMAROUTE_*`, checked at the start."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.bundle import EVERYDAY
from models.errors import ChromarouteError
from models.imaging import MAX_PIXELS
from models.runtime import Precision

PREFIX = "CHROMAROUTE_"
DECODER_LIMIT = 178_956_970  # pixels; Pillow refuses more


class SettingsError(ChromarouteError):
    """A setting that is unknown or outside its valid values."""


class Settings(BaseSettings):
    """What a deployment may choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    bundle: Path = Field(EVERYDAY, description="folder of the bundle that is served")
    device: str = Field("cpu", description="cpu, cuda, mps ...")
    precision: Precision = "float32"
    threads: int = Field(0, ge=0, description="threads of the networks; 0 leaves it to torch")
    max_bytes: int = Field(200 * 2**20, gt=0, description="largest request body, in bytes")
    max_pixels: int = Field(MAX_PIXELS, gt=0, le=DECODER_LIMIT, description="largest picture, in pixels")


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
        problems = "; ".join(f"{PREFIX}{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors())
        raise SettingsError(f"the settings are not valid: {problems}.") from error


def _ours(environment: Mapping[str, str]) -> set[str]:
    return {name.upper() for name in environment if name.upper().startswith(PREFIX)}
