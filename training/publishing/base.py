"""The joint run under a bundle, or the embedded bundle in its place: its trunk, its general decoder and its router head."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.bundle import EVERYDAY, read_weights
from models.colorizers.vgg_expert import VggExpert
from models.errors import CheckpointError
from models.manifest import read_manifest
from models.vgg import VggTrunk
from training.checkpoints import file_digest, load_state
from training.data.manifest import DataError
from training.fit import BEST
from training.learner import part
from training.trained import BASE, Trained


@dataclass(frozen=True)
class Base:
    """A joint run; `digest` is that of its checkpoint (or of the bundle's manifest), `categories` end with *general*."""

    name: str
    digest: str
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    trunk: VggTrunk

    @property
    def data(self) -> str:
        """The digest of what it was trained on."""
        return str(self.meta["origin"]["data"])

    @property
    def categories(self) -> tuple[str, ...]:
        """What its head names, *general* last."""
        return tuple(self.meta["categories"])

    def general(self, size: int) -> Trained:
        """Its decoder, which paints anything."""
        network = VggExpert(self.trunk).eval().to(next(self.trunk.parameters()).device)
        tensors = part(self.tensors, "expert.")
        network.load_state_dict(tensors)
        return Trained(network, "vgg_expert", {}, tensors, size, BASE, self.meta)


def load_base(runs: Path, name: str, categories: tuple[str, ...], device: torch.device) -> Base:
    """The joint run of that name, if it was trained on these categories; *everyday* is the embedded bundle, taken apart again.

    Raises:
        CheckpointError: there is no such run, or it is of another task.
        DataError: it was trained on other categories.
    """
    folder = EVERYDAY if name == "everyday" else runs / name
    tensors, meta, digest = _embedded() if name == "everyday" else (*load_state(folder / BEST), file_digest(folder / BEST))
    if not isinstance(meta.get("trunk"), str):
        raise CheckpointError(f"{folder} has no trunk: the base of a bundle is a run of the task `joint`.")
    if tuple(meta["categories"]) != categories:
        raise DataError(
            f"{folder} was trained on the categories {', '.join(meta['categories'])}, "
            f"and the manifest has {', '.join(categories)}: publish with the manifest of the training."
        )
    trunk = VggTrunk(meta["trunk"]).eval().to(device)
    trunk.load_state_dict(part(tensors, "trunk."))
    return Base(name, digest, tensors, meta, trunk)


def _embedded() -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Trunk, head and general decoder of the embedded bundle, as the joint run had them, in half precision."""
    manifest, content = read_manifest(EVERYDAY)
    router = manifest.router
    cards = {
        "trunk": manifest.trunks[router.trunk],
        "head": router,
        "expert": manifest.experts[manifest.categories[router.fallback]],
    }
    tensors = {
        f"{name}.{key}": tensor.float() if tensor.is_floating_point() else tensor
        for name, card in cards.items()
        for key, tensor in read_weights(EVERYDAY / card.file, card, name).items()
    }
    meta = {
        "trunk": cards["trunk"].arguments["network"],
        "categories": [*router.arguments["categories"], router.fallback],
        "origin": {"data": router.data},
    }
    return tensors, meta, hashlib.sha256(content).hexdigest()
