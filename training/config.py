"""A recipe: the TOML file that an experiment is. Unknown keys are refused, and `--set a.b=c` changes known ones."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ChromarouteError

Kind = TypeVar("Kind", bound=BaseModel)


class RecipeError(ChromarouteError):
    """A recipe that does not exist or cannot be run as it is written."""


class Section(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Which entries of the manifest are trained on. `tiny` joins Tiny ImageNet's pictures, for breadth."""

    sets: tuple[str, ...] = ("photos", "extra")
    validation_sets: tuple[str, ...] = ("photos",)
    size: int = Field(160, ge=32, description="side of the stored squares, in pixels")
    limit: int = Field(0, ge=0, description="at most so many pictures, 0 for all; for smoke runs")
    tiny_every: int = Field(0, ge=0, description="every so many steps one of tiny pictures; 0 for none")


class Schedule(Section):
    """How long, in what pieces, at what pace. `sizes` are (until this share of the run, side in pixels)."""

    steps: int = Field(gt=0)
    batch: int = Field(64, gt=0)
    sizes: tuple[tuple[float, int], ...] = ((1.0, 128),)
    learning_rate: float = Field(2e-3, gt=0)
    warmup: int = Field(200, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average of the weights")
    validate_every: int = Field(500, gt=0)
    validation_size: int = Field(128, gt=0)
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    def check_sizes(self, stride: int) -> None:
        """Raise a RecipeError unless every size is a multiple of a network's stride."""
        for size in (*(size for _, size in self.sizes), self.validation_size):
            if size % stride:
                raise RecipeError(f"the schedule has pictures of {size} px: give multiples of {stride}, which this network needs.")

    def size_at(self, step: int) -> int:
        """The side of the pictures at a step, in pixels."""
        return next((size for share, size in self.sizes if step < share * self.steps), self.sizes[-1][1])


class Joint(Section):
    """Trunk, general expert and router head together: naming and painting, as in paper 000."""

    kind: Literal["joint"]
    trunk: str = "compact"
    naming: float = Field(0.5, ge=0, description="weight of the category cross-entropy")
    tiny_naming: float = Field(0.25, ge=0, description="weight of the cross-entropy of tiny classes")
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    rebalance: float = Field(0.5, ge=0, le=1, description="strength of the rebalancing of rare colours; 1 as published")


class Expert(Section):
    """The decoder of a category, fine-tuned from the general one on a frozen trunk."""

    kind: Literal["expert"]
    base: str = Field(description="the run that made the trunk and the general expert")
    rebalance: float = Field(0.5, ge=0, le=1)
    own_share: float = Field(0.8, gt=0, le=1, description="share of a batch from the category itself")


class Regression(Section):
    """Squared error on ab, any family that reads L: papers 001 and 003."""

    kind: Literal["regression"]
    family: str = "strided_cnn"
    arguments: dict[str, Any] = {}


class Adversarial(Section):
    """pix2pix: a generator against a PatchGAN discriminator, with an L1 term; paper 004."""

    kind: Literal["adversarial"]
    arguments: dict[str, Any] = {}
    l1: float = Field(100.0, ge=0)
    discriminator_width: int = Field(64, gt=0)


class Recipe(Section):
    """One run, or, with `each`, one run for every category of the data."""

    name: str = ""
    seed: int = 0
    each: bool = False
    categories: tuple[str, ...] = Field((), description="only these categories; all where it is empty")
    task: Annotated[Joint | Expert | Regression | Adversarial, Field(discriminator="kind")]
    data: Data = Data()
    schedule: Schedule


class OwnRouter(Section):
    """The head that the joint run trained, calibrated on validation pictures."""

    classifier: Literal["head"] = "head"
    risk: float = Field(0.1, gt=0, lt=1, description="share of the accepted pictures that may be named wrongly")


class ImageNetRouter(Section):
    """torchvision's ImageNet network over its label map; paper 004's rule is `score = "max"`, 0.05 and *person*."""

    classifier: Literal["imagenet"]
    network: Literal["vgg16", "vgg19"] = "vgg16"
    mapping: str = "everyday"
    score: Literal["sum", "max"] = "sum"
    threshold: float = Field(0.3, ge=0, le=1)
    fallback: str = "general"
    weights: str = Field("", description="a file with torchvision's weights; where it is empty, torchvision fetches them")


class BundleRecipe(Section):
    """What `publish` joins into a bundle."""

    name: str
    description: str
    licence: str
    sources: str = ""
    base: str = Field(description="the joint run: trunk, general expert and head")
    experts: str = Field("", description="the run with one expert a category")
    router: OwnRouter | ImageNetRouter = Field(OwnRouter(), discriminator="classifier")
    working_size: int = Field(128, gt=0)
    least_chroma: float = Field(0.8, ge=0, description="of the truth's, where an expert can have it")
    data: Data = Data()


def load_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> Recipe:
    """The recipe of that name in `training/recipes`, or the TOML file at that path.

    `changes` are `a.b=value` with a TOML value; `smoke` shrinks the run to seconds.

    Raises:
        RecipeError: there is no such recipe, it is no TOML, or a key or a value in it is not valid.
    """
    return _load(Recipe, name, changes, _SMOKE if smoke else {})


def load_bundle_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> BundleRecipe:
    """As `load_recipe`, for what `publish` takes."""
    return _load(BundleRecipe, name, changes, {"data": _SMOKE["data"]} if smoke else {})


_SMOKE: dict[str, Any] = {
    "schedule": {
        "steps": 4, "batch": 4, "validate_every": 2, "sizes": [[1.0, 128]], "warmup": 1,
    },
    "data": {"limit": 48},
}  # fmt: skip


def _load(kind: type[Kind], name: str, changes: tuple[str, ...], shrink: dict[str, Any]) -> Kind:
    path = Path(name)
    shipped = resources.files("training") / "recipes" / f"{name}.toml"
    try:
        text = path.read_text() if path.suffix == ".toml" else shipped.read_text()
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        raise RecipeError(f"there is no recipe {name!r}: give a .toml file or one of {', '.join(recipe_names())}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is not valid TOML: {error}.") from error
    values.setdefault("name", path.stem)
    for section, entries in shrink.items():
        values[section] = values.get(section, {}) | entries if isinstance(entries, dict) else entries
    for change in changes:
        _apply(values, change)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RecipeError(f"the recipe {name!r} is not valid: {problems}.") from error


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    folder = resources.files("training") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def _apply(values: dict[str, Any], change: str) -> None:
    keys, separator, value = change.partition("=")
    *sections, last = keys.strip().split(".")
    if not separator or not last:
        raise RecipeError(f"--set {change!r} is not understood: write a.b=value.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {change!r} is not understood: {section!r} is a value and has nothing under it.")
    try:
        values[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = value
