"""Loads the networks of finished runs: colorizers and classifiers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.colorizers import COLORIZERS, Colorizer, TapColorizer
from models.errors import CheckpointError
from models.vgg import VggTrunk
from training.config.task_options import ClassificationOptions
from training.loop.checkpoints import load_state
from training.loop.run_folder import BEST
from training.networks.classifiers import build_classifier
from training.networks.state_dicts import select_prefix
from training.networks.trunks import frozen_trunk

BASE = "base"  # the trunk of an expert that was fine-tuned on the trunk of another run


@dataclass(frozen=True)
class TrainedColorizer:
    """A colorizer with the contents of its card.

    `tensors` are its own, without those of a trunk. `size` is the side in pixels at which it was validated. `trunk` is `BASE` for
    an expert that was fine-tuned on the trunk of another run, otherwise the name of the frozen trunk, or None. `meta` are the
    values of its checkpoint.
    """

    network: Colorizer
    family: str
    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    size: int
    trunk: str | None
    meta: dict[str, Any]

    @property
    def data(self) -> str:
        """The digest of its training data."""
        return str(self.meta["origin"]["data"])

    @property
    def normalize_tones(self) -> bool:
        """Whether it reads pictures of normalized tones."""
        if "normalize_tones" in self.meta:  # of a joint run
            return bool(self.meta["normalize_tones"])
        return bool(self.meta["origin"]["recipe"]["data"]["normalize_tones"])


@dataclass(frozen=True)
class TrainedClassifier:
    """The classifier of a finished run; `meta` are the values of its checkpoint."""

    network: nn.Module
    categories: tuple[str, ...]
    meta: dict[str, Any]

    @property
    def size(self) -> int:
        """The side in pixels of the pictures on which it was validated."""
        return int(self.meta["origin"]["recipe"]["schedule"]["validation_size"])

    @torch.no_grad()
    def logits(self, L: Tensor, ab: Tensor) -> Tensor:
        """Logits `(n,classes)` of lightness `(n,1,h,w)` and chrominance `(n,2,h,w)`."""
        logits: Tensor = self.network(L, ab)
        return logits.float()


def load_colorizer(folder: Path, device: torch.device, base: VggTrunk | None = None) -> TrainedColorizer:
    """The colorizer of the run in `folder`; `base` is the trunk of the run from which it was fine-tuned.

    Raises:
        CheckpointError: there is no finished run, it has no colorizer of its own, or it needs a `base` that is not given.
        RecipeError: the weights of its frozen trunk cannot be loaded.
    """
    tensors, meta = load_state(folder / BEST)
    if "family" not in meta:
        raise CheckpointError(f"{folder} is not a run that trained a colorizer of its own: give one that did.")
    family = COLORIZERS[meta["family"]]
    trunk: tuple[VggTrunk, ...] = ()
    name = None
    if "trunk" in meta:
        name = f"{meta['trunk']['network']}-{Path(meta['trunk']['weights']).stem}"
        trunk = (frozen_trunk(**meta["trunk"]).to(device),)
    elif issubclass(family, TapColorizer):
        if base is None:
            raise CheckpointError(f"{folder} was fine-tuned on the trunk of another run: publish it with that run as the base.")
        name, trunk = BASE, (base,)
    network = family(*trunk, **meta["arguments"]).eval().to(device)
    own = select_prefix(tensors, "expert.")
    network.load_state_dict(own)
    size = int(meta["origin"]["recipe"]["schedule"]["validation_size"])
    return TrainedColorizer(network, meta["family"], meta["arguments"], own, size, name, meta)


def load_classifier(folder: Path, device: torch.device, input_kind: Literal["gray", "color"]) -> TrainedClassifier:
    """The classifier of a finished run whose input is *gray* or *color*.

    Raises:
        CheckpointError: there is no such run, or its classifier has another input.
    """
    tensors, meta = load_state(folder / BEST)
    if meta.get("classifier", {}).get("input") != input_kind:
        raise CheckpointError(
            f"{folder} is not a classifier of {input_kind} pictures: give a run of the task classification that is."
        )
    categories = tuple(meta["categories"])
    options = ClassificationOptions(kind="classification", **meta["classifier"])
    network = build_classifier(options, len(categories), pretrained=False)
    network.load_state_dict(tensors)
    return TrainedClassifier(network.eval().to(device), categories, meta)
