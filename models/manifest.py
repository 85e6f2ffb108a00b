"""The manifest of a bundle and the cards of its checkpoints: `manifest.json`, validated strictly."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import BundleError

MANIFEST = "manifest.json"


class Strict(BaseModel):
    """Base of models that are frozen and refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(Strict):
    """A checkpoint: the network and its arguments, and the size and the sha256 of the file."""

    family: str
    arguments: dict[str, Any] = {}
    file: str = Field(pattern=r"^[\w.-]+\.(safetensors|onnx)$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    trunk: str | None = None
    license: str = ""
    data: str = Field("", description="digest of the training data")
    scores: dict[str, float] = {}


class InputCard(Card):
    """A checkpoint that reads pictures; `working_size` is the short side in pixels to which they are resized for it.

    With `normalize_tones`, their tones are stretched (`models.tones`). If they should `fit` a square, both sides have that size, as
    in the programs of published networks; otherwise pictures keep their aspect.
    """

    working_size: int = Field(gt=0)
    normalize_tones: bool = False
    fit: Literal["aspect", "square"] = "aspect"


class TrunkCard(InputCard):
    """A trunk."""


class ExpertCard(InputCard):
    """A colorizer and the category that it was trained on; one with a trunk has the same input as the trunk.

    If it `shares` the tensors of another expert of its family, its file only contains those in which it differs.
    """

    category: str
    shares: str | None = None

    @property
    def identity(self) -> str:
        """What its colors depend on: equal for experts of different names that give a picture the same colors."""
        return self.model_dump_json(exclude={"file", "bytes", "data", "license", "scores", "category"})


class RouterCard(Card):
    """The classifier (`family` is `head` or `imagenet`), its threshold and the fallback."""

    trunk: str
    threshold: float = Field(ge=0, le=1)
    fallback: str


class Manifest(Strict):
    """A bundle: trunks, a router, and experts.

    `categories` maps each category to the name of its expert; categories without an expert of their own share that of the fallback.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    description: str
    license: str
    sources: str = Field("", description="the training data and their terms")
    categories: dict[str, str]
    trunks: dict[str, TrunkCard]
    router: RouterCard
    experts: dict[str, ExpertCard]

    @model_validator(mode="after")
    def _references_exist(self) -> "Manifest":
        if missing := sorted(set(self.categories.values()) - set(self.experts)):
            raise ValueError(f"categories name experts that do not exist: {', '.join(missing)}")
        if self.router.fallback not in self.categories:
            raise ValueError(f"the fallback {self.router.fallback!r} is not one of the categories")
        for name, expert in self.experts.items():
            shared = self.experts.get(expert.shares) if expert.shares is not None else None
            if expert.shares is not None and (shared is None or shared.family != expert.family or shared.shares is not None):
                raise ValueError(f"{name} shares the tensors of {expert.shares!r}, which is not a complete expert of its family")
        for name, card in {**self.experts, "the router": self.router}.items():
            if card.trunk is not None and card.trunk not in self.trunks:
                raise ValueError(f"{name} reads the trunk {card.trunk!r}, which does not exist")
        return self

    def cards(self) -> dict[str, Card]:
        """All cards, by `trunk NAME`, `router` and `expert NAME`."""
        trunks: dict[str, Card] = {f"trunk {name}": card for name, card in self.trunks.items()}
        return {**trunks, "router": self.router, **{f"expert {name}": card for name, card in self.experts.items()}}


def read_manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest of the bundle in `folder`, and its bytes, whose sha256 identifies the bundle.

    Raises:
        BundleError: there is no manifest, or it is not valid.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is not a bundle: a bundle is a folder with a {MANIFEST} and its safetensors files.")
    content = path.read_bytes()
    try:
        return Manifest.model_validate_json(content), content
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'manifest'}: {item['msg']}" for item in error.errors())
        raise BundleError(f"{path} is not a valid manifest: {problems}.") from error
