"""The sections of a training recipe: data, schedule and task."""

from typing import Literal

from pydantic import Field

from training.config.section import Decay, RecipeError, Section, Share, Side
from training.config.task_options import AnyTaskOptions

Augmentation = Literal["old_prints", "full", "flips_and_rotations", "flips", "none"]


class DataOptions(Section):
    """Which entries of the dataset index are trained on, and how they are augmented.

    `groups` merges categories into classes of another name and leaves the others out, as for the three classes of paper 004. The
    members of a group are patterns such as `cat`, `face-*` or, if sets use the same names, `wide/animal`; the first group that
    names a picture has it. The group *unlabeled* trains colorizers, but not classifiers.
    """

    sets: tuple[str, ...] = ("photos", "extra")
    validation_sets: tuple[str, ...] = ("photos",)
    size: int = Field(160, ge=32, le=1024, description="side of the stored squares, in pixels")
    limit: int = Field(0, ge=0, description="maximum number of pictures per split; 0 for all")
    groups: dict[str, tuple[str, ...]] = {}
    weights: dict[str, float] = Field({}, description="how often pictures are drawn, by patterns as in groups; 1 for others")
    evenness: float = Field(
        0.0, ge=0, le=1, description="0 draws all pictures equally often, 1 all kinds, whatever their number of pictures"
    )
    augmentation: Augmentation = "full"
    tiny_interval: int = Field(0, ge=0, description="every n-th step trains on a batch of Tiny ImageNet; 0 for never")
    tiny_size: Side = Field(64, multiple_of=32, description="side at which the pictures of Tiny ImageNet are trained")
    min_scale: Share = Field(0.4, description="smallest downscale factor of the blur augmentation")
    normalize_tones: bool = Field(False, description="stretch the tones that the networks read; the published cards say so too")


class Schedule(Section):
    """Steps, batches, sizes, optimizer and validation. `sizes` are pairs (until this share of the run, side in pixels)."""

    steps: int = Field(gt=0)
    stop_at: int = Field(0, ge=0, description="step at which the run ends early, so that another run can continue; 0 for all steps")
    batch: int = Field(64, gt=0)
    sizes: tuple[tuple[Share, Side], ...] = Field(((1.0, 128),), min_length=1)
    optimizer: Literal["adamw", "adam", "adadelta"] = "adamw"
    learning_rate: float = Field(2e-3, gt=0)
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = Field(200, ge=0, description="steps")
    weight_decay: float = Field(0.02, ge=0)
    clip_norm: float = Field(5.0, ge=0, description="largest norm of the gradients; 0 for no clipping")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the moving average of the weights; 0 for none")
    validate_every: int = Field(500, gt=0, description="steps")
    keep: Literal["best", "last"] = Field("best", description="keep the checkpoint of the best validation score, or the last one")
    snapshot_every: int = Field(0, ge=0, description="keep the weights of every n-th step; 0 for never")
    validation_size: Side = 128
    validation_pictures: int = Field(0, ge=0, description="most validation pictures, evenly spread; 0 for all")
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    def check_sizes(self, stride: int) -> None:
        """Raise a RecipeError unless every size is a multiple of the stride of a network."""
        for key, sizes in (("sizes", [size for _, size in self.sizes]), ("validation_size", [self.validation_size])):
            if wrong := next((size for size in sizes if size % stride), None):
                raise RecipeError(f"schedule.{key} has {wrong} px: give multiples of {stride}, the stride of this network.")

    @property
    def end(self) -> int:
        """The number of steps that are run."""
        return min(self.stop_at or self.steps, self.steps)

    def size_at(self, step: int) -> int:
        """The side of the pictures at a step, in pixels."""
        return next((size for share, size in self.sizes if step < share * self.steps), self.sizes[-1][1])


class Recipe(Section):
    """One run, or, with `per_category`, one run for every category of the data.

    A file can start with `extends = "NAME"`, and then takes everything that it does not set from that recipe.
    """

    name: str = Field("", pattern=r"^[\w.-]*$", description="of the folder of the run")
    seed: int = Field(0, ge=0)
    per_category: bool = False
    categories: tuple[str, ...] = Field((), description="only these categories; all if empty")
    task: AnyTaskOptions
    data: DataOptions = DataOptions()
    schedule: Schedule
