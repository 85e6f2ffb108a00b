"""The colorizer of a finished run, built again and ready to be judged or published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.colorizers import COLORIZERS, Colorizer, TapColorizer
from models.errors import CheckpointError
from models.vgg import VggTrunk
from training.checkpoints import load_state
from training.fit import BEST
from training.learner import part
from training.trunks import frozen_trunk

BASE = "base"  # the trunk of an expert that was fine-tuned on another run's


@dataclass(frozen=True)
class Trained:
    """A colorizer with what its card says.

    `tensors` are its own, without a trunk's. `size` is the side in pixels that it was validated at. `trunk` is `BASE` for one that
    was fine-tuned on another run's trunk, else the frozen trunk's name, or None. `meta` is all that the checkpoint knows.
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
        """The digest of what it was trained on."""
        return str(self.meta["origin"]["data"])


def load_trained(folder: Path, device: torch.device, base: VggTrunk | None = None) -> Trained:
    """The colorizer of the run in `folder`; `base` is the trunk of the run that it was fine-tuned from.

    Raises:
        CheckpointError: there is no finished run, it does not paint, or it needs a `base` that is not given.
        RecipeError: its frozen trunk's weights cannot be had any more.
    """
    tensors, meta = load_state(folder / BEST)
    if "family" not in meta:
        raise CheckpointError(f"{folder} is a run that does not paint by itself: give one that trained a colorizer.")
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
    own = part(tensors, "expert.")
    network.load_state_dict(own)
    size = int(meta["origin"]["recipe"]["schedule"]["validation_size"])
    return Trained(network, meta["family"], meta["arguments"], own, size, name, meta)
