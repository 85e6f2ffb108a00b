"""Two classifiers of a picture's category, on the taps of a trunk. `models.router` applies the threshold rule to their output.

Both return probabilities `(n, categories + 1)` whose last column is *unmapped*, the probability of no category at all. The bundle's
own head is calibrated on validation pictures; the softmax of the ImageNet classifier is used as it is.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.imagenet import imagenet_categories, imagenet_mapping
from models.vgg import Taps

IMAGENET_CHANNELS = 512  # of the deepest tap of VGG-16 and VGG-19


class Classifier(nn.Module):
    """A network from the taps of a trunk to the probabilities of categories."""

    categories: tuple[str, ...]

    @abstractmethod
    def forward(self, taps: Taps) -> Tensor:
        """Probabilities `(n, categories + 1)`, the last of them *unmapped*."""


class HeadClassifier(Classifier):
    """A head trained on grayscale pictures: pooled taps, batch norm, dropout, one dense layer (paper 003, section IV.B).

    What differs from the paper: it reads two depths, and its last class, *general*, is that of pictures of no category.

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
        """Logits `(n, categories + 1)` before calibration, for the training loss."""
        pooled = torch.cat([taps[stride].mean(dim=(2, 3)) for stride in self.strides], dim=1)
        logits: Tensor = self.dense(self.dropout(self.norm(pooled)))
        return logits

    def forward(self, taps: Taps) -> Tensor:
        return (self.logits(taps).float() / self.temperature).softmax(dim=1)


class ImageNetClassifier(Classifier):
    """torchvision's VGG-16 or VGG-19 trained on ImageNet, whose 1000 labels are mapped to categories.

    With `score` *sum*, the probability of a category is the sum over its labels, and that of all other labels is *unmapped*. With
    *max*, it is the maximum over its labels, and nothing is unmapped; together with the mapping *animal-person-vehicle*, the
    threshold 0.05 and the fallback *person* this is the rule of paper 004 (section 2.1).

    Args:
        mapping: a column of `imagenet_categories.json`.
        score: `sum` or `max`.

    Raises:
        ValueError: `mapping` or `score` is unknown.
    """

    members: Tensor

    def __init__(self, mapping: str = "everyday", score: str = "sum") -> None:
        super().__init__()
        if score not in ("sum", "max"):
            raise ValueError(f"score is {score!r}: give sum or max.")
        self.score = score
        self.categories = imagenet_categories(mapping)
        self.register_buffer("members", imagenet_members(mapping), persistent=False)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        first, second = nn.Linear(512 * 7 * 7, 4096), nn.Linear(4096, 4096)
        self.classifier = nn.Sequential(first, nn.ReLU(), nn.Dropout(), second, nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000))

    def forward(self, taps: Taps) -> Tensor:
        return self.map_labels(self.classifier(self.avgpool(taps[32]).flatten(1)).float().softmax(dim=1))

    def map_labels(self, labels: Tensor) -> Tensor:
        """Probabilities `(n, categories + 1)` of categories from those of the ImageNet labels `(n, 1000)`."""
        if self.score == "max":
            mapped = (labels[:, None, :] * self.members).amax(dim=2)
            return F.pad(mapped, (0, 1))
        mapped = labels @ self.members.T
        return torch.cat((mapped, (1 - mapped.sum(dim=1, keepdim=True)).clamp(min=0)), dim=1)


def imagenet_members(name: str) -> Tensor:
    """A matrix `(categories, 1000)` that is 1 where a label of ImageNet belongs to a category of the mapping.

    Raises:
        ValueError: there is no mapping of that name.
    """
    labels = imagenet_mapping(name)
    return torch.tensor([[float(label == category) for label in labels] for category in imagenet_categories(name)])
