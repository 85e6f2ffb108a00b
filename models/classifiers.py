"""Two classifiers that name a picture's category from a trunk's taps; the threshold rule over them is in `router`.

Both give probabilities `(n, categories + 1)` whose last column is *unmapped*: the probability of no category at all. The bundle's
own head is calibrated on validation pictures; ImageNet's softmax is taken as it is.
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib import resources

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.torchvision_parts import vgg as torchvision_vgg
from models.vgg import Taps

IMAGENET_CHANNELS = 512  # of the deepest tap of VGG-16 and VGG-19


class Classifier(nn.Module):
    """Names categories from the taps of a trunk."""

    categories: tuple[str, ...]

    @abstractmethod
    def forward(self, taps: Taps) -> Tensor:
        """Probabilities `(n, categories + 1)`, the last of them *unmapped*."""


class HeadClassifier(Classifier):
    """The bundle's own head, trained on grey pictures: pooled taps, batch norm, dropout, one dense layer (paper 003, IV.B).

    What differs from the paper: it reads two depths, and its last class, *general*, stands for pictures of no category.

    Args:
        channels: of the trunk's taps, by stride.
        categories: names, without the class *general*.
        temperature: divides the logits, so that the confidence is calibrated (Guo et al. 2017).
    """

    strides = (16, 32)

    def __init__(self, channels: dict[int, int], categories: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__()
        self.categories = tuple(categories)
        self.temperature = temperature
        width = sum(channels[stride] for stride in self.strides)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.2)
        self.dense = nn.Linear(width, len(self.categories) + 1)

    def logits(self, taps: Taps) -> Tensor:
        """Logits `(n, categories + 1)`, uncalibrated, as the training loss wants them."""
        pooled = torch.cat([taps[stride].mean(dim=(2, 3)) for stride in self.strides], dim=1)
        logits: Tensor = self.dense(self.dropout(self.norm(pooled)))
        return logits

    def forward(self, taps: Taps) -> Tensor:
        return (self.logits(taps).float() / self.temperature).softmax(dim=1)


class ImageNetClassifier(Classifier):
    """torchvision's VGG-16 or VGG-19 as it was trained on ImageNet, its 1000 labels mapped onto categories.

    With `score` *sum* a category's probability is the sum of its labels', and what no category claims is unmapped. With *max* it is
    that of its likeliest label and nothing is unmapped: with the mapping *animal-person-vehicle*, the threshold 0.05 and the
    fallback *person* that is paper 004's own rule (section 2.1).

    Args:
        mapping: a column of `imagenet_categories.json`.
        score: `sum` or `max`.

    Raises:
        ValueError: there is no such mapping or score.
    """

    members: Tensor

    def __init__(self, mapping: str = "everyday", score: str = "sum") -> None:
        super().__init__()
        if score not in ("sum", "max"):
            raise ValueError(f"score is {score!r}: give sum or max.")
        self.score = score
        self.categories, members = imagenet_members(mapping)
        self.register_buffer("members", members, persistent=False)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = torchvision_vgg.VGG(nn.Identity(), init_weights=False).classifier

    def forward(self, taps: Taps) -> Tensor:
        return self.categorise(self.classifier(self.avgpool(taps[32]).flatten(1)).float().softmax(dim=1))

    def categorise(self, labels: Tensor) -> Tensor:
        """Probabilities `(n, categories + 1)` from those of the labels `(n, 1000)`."""
        if self.score == "max":
            claimed = (labels[:, None, :] * self.members).amax(dim=2)
            return F.pad(claimed, (0, 1))
        claimed = labels @ self.members.T
        return torch.cat((claimed, (1 - claimed.sum(dim=1, keepdim=True)).clamp(min=0)), dim=1)


@cache
def imagenet_mapping(name: str) -> tuple[str | None, ...]:
    """The category of each of the 1000 ImageNet labels, in torchvision's order; None is unmapped.

    Raises:
        ValueError: there is no mapping of that name.
    """
    table = json.loads((resources.files("models") / "imagenet_categories.json").read_text())
    if name not in table["columns"][1:]:
        raise ValueError(f"there is no mapping {name!r}: give one of {', '.join(table['columns'][1:])}.")
    column = table["columns"].index(name)
    return tuple(row[column] for row in table["labels"])


def imagenet_members(name: str) -> tuple[tuple[str, ...], Tensor]:
    """The categories of a mapping, and `(categories, 1000)`: 1 where the label belongs to the category. Errors as above."""
    labels = imagenet_mapping(name)
    categories = tuple(sorted({category for category in labels if category}))
    return categories, torch.tensor([[float(label == category) for label in labels] for category in categories])
