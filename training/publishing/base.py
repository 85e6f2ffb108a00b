"""The base of a bundle: the trunk, the general decoder and the router head of a joint run, or of the embedded bundle."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.bundle import read_weights
from models.bundle_header import EVERYDAY
from models.colorizers.vgg_expert import VggExpert
from models.errors import CheckpointError
from models.manifest import Card, read_manifest
from models.vgg import VggTrunk
from training.config.recipe import DataOptions
from training.config.recipe_files import load_recipe
from training.data.dataset_index import DataError
from training.loop.checkpoints import file_digest, load_state
from training.loop.run_folder import BEST
from training.networks.state_dicts import select_prefix
from training.runs.trained import BASE, TrainedColorizer

EVERYDAY_RECIPE = "everyday-base"  # by which the base of the embedded bundle was trained


@dataclass(frozen=True)
class Base:
    """A joint run; `digest` is that of its checkpoint or of the embedded bundle's manifest, *general* is the last category."""

    name: str
    digest: str
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    trunk: VggTrunk

    @property
    def data(self) -> str:
        """The digest of its training data."""
        return str(self.meta["origin"]["data"])

    def completed(self, data: DataOptions) -> DataOptions:
        """The options of data, with those of its training where they are not set."""
        return DataOptions.model_validate(self.meta["origin"]["recipe"]["data"] | data.model_dump(exclude_unset=True))

    def check_categories(self, categories: tuple[str, ...]) -> None:
        """Check that the pictures for publishing have the categories of its head.

        Raises:
            DataError: they have others.
        """
        if self.categories != categories:
            raise DataError(
                f"{self.name} was trained on the categories {', '.join(self.categories)}, "
                f"and the dataset index has {', '.join(categories)}: publish with the index of the training."
            )

    @property
    def normalize_tones(self) -> bool:
        """Whether its networks read pictures of normalized tones."""
        return bool(self.meta["normalize_tones"])

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of its head, *general* last."""
        return tuple(self.meta["categories"])

    def general(self, size: int) -> TrainedColorizer:
        """Its general decoder, for pictures of `size` pixels."""
        arguments = self.meta["decoder"]
        network = VggExpert(self.trunk, **arguments).eval().to(next(self.trunk.parameters()).device)
        tensors = select_prefix(self.tensors, "expert.")
        network.load_state_dict(tensors)
        return TrainedColorizer(network, "vgg_expert", arguments, tensors, size, BASE, self.meta)


def load_base(runs: Path, name: str, device: torch.device) -> Base:
    """The joint run of that name; *everyday* is the embedded bundle.

    Raises:
        CheckpointError: there is no such run, or it is one of another task.
    """
    folder = EVERYDAY if name == "everyday" else runs / name
    tensors, meta, digest = _embedded() if name == "everyday" else (*load_state(folder / BEST), file_digest(folder / BEST))
    if not isinstance(meta.get("trunk"), str):
        raise CheckpointError(f"{folder} has no trunk: the base of a bundle is a run of the task `joint`.")
    trunk = VggTrunk(meta["trunk"]).eval().to(device)
    trunk.load_state_dict(select_prefix(tensors, "trunk."))
    return Base(name, digest, tensors, meta, trunk)


def _embedded() -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Trunk, head and general decoder of the embedded bundle, in the layout of a joint run."""
    manifest, content = read_manifest(EVERYDAY)
    router = manifest.router
    trunk, expert = manifest.trunks[router.trunk], manifest.experts[manifest.categories[router.fallback]]
    cards: dict[str, Card] = {"trunk": trunk, "head": router, "expert": expert}
    tensors = {
        f"{name}.{key}": tensor
        for name, card in cards.items()
        for key, tensor in read_weights(EVERYDAY / card.file, card, name).items()
    }
    meta = {
        "trunk": trunk.arguments["network"],
        "decoder": {name: expert.arguments[name] for name in ("widths", "heads") if name in expert.arguments},
        "categories": [*router.arguments["categories"], router.fallback],
        "normalize_tones": trunk.normalize_tones,
        "origin": {"data": router.data, "recipe": load_recipe(EVERYDAY_RECIPE).model_dump(mode="json")},
    }
    return tensors, meta, hashlib.sha256(content).hexdigest()
