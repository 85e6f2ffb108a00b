"""The recipe of a bundle: which runs `publish` joins, and how experts are selected."""

from typing import Literal

from pydantic import Field

from training.config.recipe import DataOptions
from training.config.section import Section


class HeadRouter(Section):
    """The head that the joint run trained, calibrated on validation pictures."""

    classifier: Literal["head"] = "head"
    risk: float = Field(0.1, gt=0, lt=1, description="share of the accepted pictures that may be misclassified")
    prior_weight: float = Field(
        0.0, ge=0, le=1, description="of the logarithm of a category's frequency in training, which is subtracted from its logit"
    )


class ImageNetRouter(Section):
    """An ImageNet network of torchvision with a label map; the rule of paper 004 is `score = "max"`, 0.05 and *person*."""

    classifier: Literal["imagenet"]
    network: Literal["vgg16", "vgg19"] = "vgg16"
    mapping: str = "everyday"
    score: Literal["sum", "max"] = "sum"
    threshold: float = Field(0.3, ge=0, le=1)
    fallback: str = "general"
    weights: str = Field("", description="a file with the weights of torchvision; downloaded if empty")


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
    experts: str = Field("", description="the run with one expert per category")
    general: str = Field("", description="the run that trained the general expert; the decoder of the base if empty")
    keep_all: bool = Field(False, description="keep all experts, including those that are no better than the general one")
    router: HeadRouter | ImageNetRouter = Field(HeadRouter(), discriminator="classifier")
    working_size: int = Field(128, gt=0)
    colorfulness_price: float = Field(0.1, ge=0, description="ΔE94 that a unit of colorfulness is worth, in every category")
    margin: float = Field(1.0, ge=0, description="standard errors by which an expert must be better than the general one")
    data: DataOptions = Field(DataOptions(), description="the validation pictures; what is left out is as in the base")
