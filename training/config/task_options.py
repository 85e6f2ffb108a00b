"""The options of each task: the section `task` of a recipe, which `kind` selects."""

from typing import Annotated, Any, Literal

from pydantic import Field

from models.colorizers.vgg_expert import WIDTHS
from training.config.section import Section


class ReadoutLoss(Section):
    """The loss of the decoded color, in addition to the cross-entropy over bins.

    `delta_e_weight` times (ΔE94 / 10 to the truth, minus `chroma_reward` times chroma): of all predictions that are equally
    colorful, the closest to the truth has the lowest loss. `smoothness_weight` times the mean difference of neighboring decoded
    colors where both lightness and the true color are even: it prevents blotches on walls and skies.
    """

    delta_e_weight: float = Field(0.0, ge=0)
    chroma_reward: float = Field(0.0, ge=0)
    smoothness_weight: float = Field(0.0, ge=0)


class TaskOptions(Section):
    """Base class of the options of a task."""

    @property
    def earlier_run(self) -> str:
        """The run that this one builds on; empty for none."""
        return ""


class JointOptions(TaskOptions):
    """Trains trunk, general expert and router head together, for classification and colorization, as in paper 000."""

    kind: Literal["joint"]
    init_from: str = Field("", description="the joint run to continue from; random weights if empty")
    trunk: Literal["compact", "deep", "vgg16", "vgg19"] = "compact"
    widths: tuple[int, int, int] = Field(WIDTHS, description="of the decoder of the general expert, at strides 16, 8 and 4")
    heads: int = Field(0, ge=0, description="of the self-attention of the general expert at stride 16; 0 for none")
    frozen_stages: int = Field(0, ge=0, le=5, description="number of stages of the trunk, from the first, that are not trained")
    parts: tuple[str, ...] = Field(
        (),
        description="modules and parameters that are trained, such as `head.dense`; others stay those of init_from; all if empty",
    )
    classification_weight: float = Field(0.5, ge=0, description="of the cross-entropy over categories")
    kind_weight: float = Field(
        0.25, ge=0, description="of the cross-entropy over the kinds that categories and Tiny ImageNet consist of"
    )
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    rebalance: float = Field(0.5, ge=0, le=1, description="strength of the rebalancing of rare colors; 1 as published")
    readout: ReadoutLoss = ReadoutLoss()

    @property
    def earlier_run(self) -> str:
        return self.init_from


class ExpertOptions(TaskOptions):
    """Fine-tunes the general decoder on one category, on a frozen trunk."""

    kind: Literal["expert"]
    base: str = Field(min_length=1, description="the run that trained the trunk and the general expert")
    init_from: str = Field("", description="the run whose decoders to continue from; the general decoder of the base if empty")
    rebalance: float = Field(0.5, ge=0, le=1)
    readout: ReadoutLoss = ReadoutLoss()
    parts: tuple[str, ...] = Field(
        (),
        description="modules and parameters of the decoder that are trained and published, such as `up4` or `up4.after`; "
        "the others are those of the base; all if empty",
    )
    category_share: float = Field(0.8, gt=0, le=1, description="share of a batch that is of the category")
    adversarial_weight: float = Field(0.0, ge=0, description="of the generator loss of a patch discriminator; 0 for none")

    @property
    def earlier_run(self) -> str:
        return self.base


class RegressionOptions(TaskOptions):
    """Trains a regression colorizer with squared error on its own scale; all five papers have one.

    `trunk` and `weights` are those of the frozen trunk that some families read: `weights` is *imagenet* (of torchvision),
    *everyday* (the trunk `deep` of the embedded bundle), or a file.
    """

    kind: Literal["regression"]
    family: str = "strided_cnn"
    arguments: dict[str, Any] = {}
    trunk: str = "vgg16"
    weights: str = "imagenet"


class BinOptions(TaskOptions):
    """Trains the family *zhang* with cross-entropy over ab bins, with or without rebalancing of rare colors; paper 002.

    `encoder_run` is a run of the task `classification` with the backbone *zhang*, whose blocks are the initial weights.
    """

    kind: Literal["bins"]
    arguments: dict[str, Any] = {}
    rebalance: float = Field(0.0, ge=0, le=1, description="strength of the rebalancing of rare colors; 1 as published")
    encoder_run: str = ""

    @property
    def earlier_run(self) -> str:
        return self.encoder_run


class CombinedOptions(TaskOptions):
    """Trains one network for colorization and classification, with squared error plus cross-entropy / 200; paper 000."""

    kind: Literal["combined"]
    build: Literal["basic", "dropout", "residual"] = "basic"
    size: int = Field(
        128, gt=0, multiple_of=32, description="of the input of the global features; the side of the training pictures"
    )
    classification_weight: float = Field(1 / 200, ge=0)


class ClassificationOptions(TaskOptions):
    """Trains a classifier of gray or colored pictures: papers 000 (its branch alone), 002 (the judge), 003 (three backbones)."""

    kind: Literal["classification"]
    backbone: Literal["vgg19", "resnet50", "inception", "deep", "zhang", "iizuka", "vgg_small"] = "vgg19"
    arguments: dict[str, Any] = {}
    weights: str = Field("", description="imagenet, everyday or a file; random weights if empty")
    frozen: bool = Field(False, description="train only the new layers on top of the backbone")
    dropout: float = Field(0.5, ge=0, lt=1)
    input: Literal["gray", "color"] = "gray"


class AdversarialOptions(TaskOptions):
    """Trains pix2pix: a generator against a PatchGAN discriminator, with an L1 term; paper 004."""

    kind: Literal["adversarial"]
    arguments: dict[str, Any] = {}
    l1_weight: float = Field(100.0, ge=0)
    discriminator_width: int = Field(64, gt=0)


AnyTaskOptions = Annotated[
    JointOptions | ExpertOptions | RegressionOptions | BinOptions | CombinedOptions | ClassificationOptions | AdversarialOptions,
    Field(discriminator="kind"),
]
