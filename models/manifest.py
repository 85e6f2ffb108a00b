"""What a bundle says of itself: `manifest.json`, read strictly."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import BundleError

MANIFEST = "manifest.json"


class Strict(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(Strict):
    """A checkpoint: what builds its network again, and how to know that the file is the right one. `bytes` is the file's size."""

    family: str
    arguments: dict[str, Any] = {}
    file: str = Field(pattern=r"^[\w.-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    trunk: str | None = None
    licence: str = ""
    data: str = Field("", description="digest of the data set that it was trained on")
    scores: dict[str, float] = {}


class TrunkCard(Card):
    """A trunk; `working_size` is the short side in pixels that pictures are brought to for it."""

    working_size: int = Field(gt=0)


class ExpertCard(Card):
    """A colorizer; `working_size` as for a trunk, and that of its trunk if it has one. `category` is what it was trained on."""

    category: str
    working_size: int = Field(gt=0)


class RouterCard(Card):
    """The classifier (`family` is `head` or `imagenet`) and the threshold rule over it."""

    trunk: str
    threshold: float = Field(ge=0, le=1)
    fallback: str


class Manifest(Strict):
    """A bundle: one router over trunks, and the experts that categories are painted by.

    `categories` maps each category onto the name of an expert; categories that none of their own pays for share the fallback's.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    description: str
    licence: str
    sources: str = Field("", description="what it was trained on, and the terms of that")
    categories: dict[str, str]
    trunks: dict[str, TrunkCard]
    router: RouterCard
    experts: dict[str, ExpertCard]

    @model_validator(mode="after")
    def _hangs_together(self) -> "Manifest":
        if missing := sorted(set(self.categories.values()) - set(self.experts)):
            raise ValueError(f"categories name experts that are not there: {', '.join(missing)}")
        if self.router.fallback not in self.categories:
            raise ValueError(f"the fallback {self.router.fallback!r} is not among the categories")
        for name, card in {**self.experts, "the router": self.router}.items():
            if card.trunk is not None and card.trunk not in self.trunks:
                raise ValueError(f"{name} reads the trunk {card.trunk!r}, which is not there")
        return self

    def cards(self) -> dict[str, Card]:
        """Every checkpoint by what it is: `trunk NAME`, `router`, `expert NAME`."""
        trunks: dict[str, Card] = {f"trunk {name}": card for name, card in self.trunks.items()}
        return {**trunks, "router": self.router, **{f"expert {name}": card for name, card in self.experts.items()}}


def read_manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest of the bundle in `folder`, and its bytes, whose sha256 names the bundle.

    Raises:
        BundleError: there is none, or it does not say what a manifest must.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"there is no bundle in {folder}: a bundle is a folder with a {MANIFEST} and its safetensors files.")
    content = path.read_bytes()
    try:
        return Manifest.model_validate_json(content), content
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'manifest'}: {each['msg']}" for each in error.errors())
        raise BundleError(f"{path} is not a valid manifest: {problems}.") from error
