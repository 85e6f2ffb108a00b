"""What a recipe may say: the sections of the TOML file that an experiment is. Unknown keys are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import ChromarouteError

Share = Annotated[float, Field(gt=0, le=1)]
Side = Annotated[int, Field(gt=0, le=1024, description="in pixels")]
Decay = Annotated[float, Field(ge=0, lt=1)]


class RecipeError(ChromarouteError):
    """A recipe that does not exist or cannot be run as it is written."""


class Section(BaseModel):
    """Frozen, and refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Which entries of the manifest are trained on. `tiny` joins Tiny ImageNet's pictures, for breadth.

    `groups` joins categories into classes of another name, and leaves the others out: paper 004's three are made so.
    """

    sets: tuple[str, ...] = ("photos", "extra")
    validation_sets: tuple[str, ...] = ("photos",)
    size: int = Field(160, ge=32, le=1024, description="side of the stored squares, in pixels")
    limit: int = Field(0, ge=0, description="at most so many pictures, 0 for all; for smoke runs")
    groups: dict[str, tuple[str, ...]] = {}
    vary: Literal["everything", "flips_and_rotations", "flips", "nothing"] = "everything"
    tiny_every: int = Field(0, ge=0, description="every so many steps one of tiny pictures; 0 for none")
    tiny_size: Side = Field(64, multiple_of=32, description="side that tiny pictures are trained at")
    softest: Share = Field(0.4, description="of its detail, what the softest of the softened pictures keeps")


class Schedule(Section):
    """How long, in what pieces, at what pace. `sizes` are (until this share of the run, side in pixels)."""

    steps: int = Field(gt=0)
    stop_at: int = Field(0, ge=0, description="end after so many of the steps, for another run to go on; 0 for all of them")
    batch: int = Field(64, gt=0)
    sizes: tuple[tuple[Share, Side], ...] = Field(((1.0, 128),), min_length=1)
    optimizer: Literal["adamw", "adam", "adadelta"] = "adamw"
    learning_rate: float = Field(2e-3, gt=0)
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    pace: Literal["cosine", "constant"] = "cosine"
    warmup: int = Field(200, ge=0)
    weight_decay: float = Field(0.02, ge=0)
    clip: float = Field(5.0, ge=0, description="greatest norm of the gradients; 0 for none")
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average of the weights; 0 for none")
    validate_every: int = Field(500, gt=0)
    keep: Literal["best", "last"] = Field("best", description="the validation of the highest score, or the last one")
    snapshot_every: int = Field(0, ge=0, description="keep the weights every so many steps; 0 for never")
    validation_size: Side = 128
    validation_pictures: int = Field(0, ge=0, description="at most so many, spread evenly; 0 for all")
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    def check_sizes(self, stride: int) -> None:
        """Raise a RecipeError unless every size is a multiple of a network's stride."""
        for size in (*(size for _, size in self.sizes), self.validation_size):
            if size % stride:
                raise RecipeError(f"the schedule has pictures of {size} px: give multiples of {stride}, which this network needs.")

    @property
    def end(self) -> int:
        """The number of steps that are taken."""
        return min(self.stop_at or self.steps, self.steps)

    def size_at(self, step: int) -> int:
        """The side of the pictures at a step, in pixels."""
        return next((size for share, size in self.sizes if step < share * self.steps), self.sizes[-1][1])


class ReadOutLoss(Section):
    """What is asked of the color that is read out of a distribution, beside the cross-entropy over bins.

    `closeness` weighs ΔE94 / 10 to the truth, less `vividness` for each unit of chroma: of all ways to be as vivid, the one that is
    closest to the truth, vivid where the network is sure.
    """

    closeness: float = Field(0.0, ge=0)
    vividness: float = Field(0.0, ge=0)


class TaskSection(Section):
    """What a recipe trains."""

    @property
    def earlier(self) -> str:
        """The run that this one builds on; empty for none."""
        return ""


class Joint(TaskSection):
    """Trunk, general expert and router head together: naming and painting, as in paper 000."""

    kind: Literal["joint"]
    start: str = Field("", description="the joint run to go on from; where it is empty, from nothing")
    trunk: str = "compact"
    frozen: int = Field(0, ge=0, le=5, description="so many stages of the trunk, from the first, stay as `start` left them")
    naming: float = Field(0.5, ge=0, description="weight of the category cross-entropy")
    tiny_naming: float = Field(0.25, ge=0, description="weight of the cross-entropy of tiny classes")
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    rebalance: float = Field(0.5, ge=0, le=1, description="strength of the rebalancing of rare colors; 1 as published")
    read_out: ReadOutLoss = ReadOutLoss()

    @property
    def earlier(self) -> str:
        return self.start


class Expert(TaskSection):
    """The decoder of a category, fine-tuned from the general one on a frozen trunk."""

    kind: Literal["expert"]
    base: str = Field(min_length=1, description="the run that made the trunk and the general expert")
    start: str = Field("", description="the run whose decoders to go on from; where it is empty, from the general one of the base")
    rebalance: float = Field(0.5, ge=0, le=1)
    read_out: ReadOutLoss = ReadOutLoss()
    own_share: float = Field(0.8, gt=0, le=1, description="share of a batch from the category itself")
    adversary: float = Field(0.0, ge=0, description="weight of fooling a discriminator by the color that is read out; 0 for none")

    @property
    def earlier(self) -> str:
        return self.base


class Regression(TaskSection):
    """Squared error on the scale of any family that predicts chrominance itself: all five papers have one.

    `trunk` and `weights` are of the frozen trunk that some families read: `weights` is *imagenet* (torchvision's), *everyday* (the
    compact trunk of the embedded bundle) or a file.
    """

    kind: Literal["regression"]
    family: str = "strided_cnn"
    arguments: dict[str, Any] = {}
    trunk: str = "vgg16"
    weights: str = "imagenet"


class Bins(TaskSection):
    """Cross-entropy over ab bins, with or without rebalancing of rare colors; paper 002.

    `encoder` is a run of the task `naming` whose backbone is *zhang*: its blocks are taken over, and trained on.
    """

    kind: Literal["bins"]
    arguments: dict[str, Any] = {}
    rebalance: float = Field(0.0, ge=0, le=1, description="strength of the rebalancing of rare colors; 1 as published")
    encoder: str = ""

    @property
    def earlier(self) -> str:
        return self.encoder


class Combined(TaskSection):
    """Painting and naming by one network, with squared error plus cross-entropy / 200; paper 000."""

    kind: Literal["combined"]
    build: Literal["basic", "dropout", "residual"] = "basic"
    size: int = Field(128, gt=0, description="what the global features read; the side of the training pictures")
    naming: float = Field(1 / 200, ge=0)


class Naming(TaskSection):
    """A classifier of gray or of colorized pictures: papers 000 (its branch alone), 002 (the judge) and 003 (three backbones)."""

    kind: Literal["naming"]
    backbone: Literal["vgg19", "resnet50", "inception", "compact", "zhang", "iizuka", "vgg_small"] = "vgg19"
    arguments: dict[str, Any] = {}
    weights: str = Field("", description="imagenet, everyday or a file; empty: from nothing")
    frozen: bool = Field(False, description="train nothing but the new layers on top")
    dropout: float = Field(0.5, ge=0, lt=1)
    reads: Literal["gray", "color"] = "gray"


class Adversarial(TaskSection):
    """pix2pix: a generator against a PatchGAN discriminator, with an L1 term; paper 004."""

    kind: Literal["adversarial"]
    arguments: dict[str, Any] = {}
    l1: float = Field(100.0, ge=0)
    discriminator_width: int = Field(64, gt=0)


class Recipe(Section):
    """One run, or, with `each`, one run for every category of the data.

    A file may begin from another one: `like = "NAME"` takes everything from that recipe that it does not say itself.
    """

    name: str = Field("", pattern=r"^[\w.-]*$", description="of the run's folder")
    seed: int = Field(0, ge=0)
    each: bool = False
    categories: tuple[str, ...] = Field((), description="only these categories; all where it is empty")
    task: Annotated[Joint | Expert | Regression | Bins | Combined | Naming | Adversarial, Field(discriminator="kind")]
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
    license: str
    sources: str = ""
    base: str = Field(
        "",
        description="the joint run (trunk, general expert, head), or *everyday*, the embedded bundle; may be empty",
    )
    experts: str = Field("", description="the run with one expert a category")
    general: str = Field("", description="the run that paints the fallback; where it is empty, the base's own decoder does")
    keep_all: bool = Field(False, description="keep every expert, also those that are no better than the general one")
    router: OwnRouter | ImageNetRouter = Field(OwnRouter(), discriminator="classifier")
    working_size: int = Field(128, gt=0)
    price: float = Field(0.1, ge=0, description="what a unit of colorfulness is worth in every category, in ΔE94")
    margin: float = Field(1.0, ge=0, description="standard errors by which an expert must beat the general one to be kept")
    data: Data = Data()
