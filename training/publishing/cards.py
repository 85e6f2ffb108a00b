"""The files of a bundle before it is written: fp16 safetensors in memory, and a card for each."""

import hashlib
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from models.colorizers import TapColorizer
from models.manifest import Card, ExpertCard, RouterCard, TrunkCard
from training.data.datasets import GENERAL
from training.networks.state_dicts import select_prefix
from training.publishing.base import Base
from training.runs.trained import BASE, TrainedColorizer

IMAGENET_LICENSE = "the terms of torchvision's ImageNet weights"

AnyCard = TypeVar("AnyCard", bound=Card)


class CardBuilder:
    """Collects `files` and `trunks`; nothing is written before the bundle is complete.

    Args:
        license: of the weights.
        base: of the bundle, whose trunk is the first; or None.
        working_size: of the trunk of the base.
    """

    def __init__(self, license: str, base: Base | None, working_size: int) -> None:
        self.license, self.base, self.working_size = license, base, working_size
        self.files: dict[str, bytes] = {}
        self.trunks: dict[str, TrunkCard] = {}
        self.general: TrainedColorizer | None = None
        if base is not None:
            tensors = select_prefix(base.tensors, "trunk.")
            self.trunks[base.name] = self.card(
                TrunkCard, "trunk", tensors, base.data, family="vgg_trunk",
                arguments={"network": base.meta["trunk"]}, working_size=working_size, normalize_tones=base.normalize_tones,
            )  # fmt: skip

    def card(self, kind: type[AnyCard], name: str, tensors: dict[str, Tensor], data: str, **values: Any) -> AnyCard:
        """The card of a checkpoint, whose file is added; `data` is the digest of its training data."""
        half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        content = save({key: tensor.contiguous() for key, tensor in half.items()})
        file = f"{name}.safetensors"
        self.files[file] = content
        values = {"license": self.license, **values}
        return kind(file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), data=data, **values)

    def expert(self, file: str, category: str, trained: TrainedColorizer, arguments: dict[str, Any]) -> ExpertCard:
        """The card of a colorizer; its trunk is added if it is new."""
        size = self.working_size if trained.trunk == BASE else trained.size
        tensors, shares = self._own_tensors(file, trained)
        return self.card(
            ExpertCard, file, tensors, trained.data, family=trained.family, arguments=arguments, shares=shares,
            trunk=self._trunk(trained), category=category, working_size=size, normalize_tones=trained.normalize_tones,
        )  # fmt: skip

    def drop_unused(self, router: RouterCard, experts: dict[str, ExpertCard]) -> None:
        """Remove trunks and files that neither the router nor an expert uses."""
        used = {router.trunk, *(card.trunk for card in experts.values())}
        self.trunks = {name: card for name, card in self.trunks.items() if name in used}
        used_files = {card.file for card in (router, *experts.values(), *self.trunks.values())}
        self.files = {name: content for name, content in self.files.items() if name in used_files}

    def _own_tensors(self, file: str, trained: TrainedColorizer) -> tuple[dict[str, Tensor], str | None]:
        """The tensors of an expert that differ from those of the general one, and the name of the latter if it has others."""
        if file == GENERAL:
            self.general = trained
        if self.general is None or file == GENERAL or trained.trunk != BASE or self.general.trunk != BASE:
            return trained.tensors, None
        own = {name: tensor for name, tensor in trained.tensors.items() if not _equal(tensor, self.general.tensors.get(name))}
        return (own, GENERAL) if 0 < len(own) < len(trained.tensors) else (trained.tensors, None)

    def _trunk(self, trained: TrainedColorizer) -> str | None:
        if trained.trunk is None:
            return None
        if trained.trunk == BASE:
            assert self.base is not None
            return self.base.name
        assert isinstance(trained.network, TapColorizer)
        name = f"{trained.trunk}-{trained.size}"
        if name not in self.trunks:
            source = trained.meta["trunk"]
            self.trunks[name] = self.card(
                TrunkCard, trained.trunk, trained.network.trunk.state_dict(), "", family="vgg_trunk",
                arguments={"network": source["network"]}, working_size=trained.size, normalize_tones=trained.normalize_tones,
                license=self.license if source["weights"] == "everyday" else IMAGENET_LICENSE,
            )  # fmt: skip
        return name


def _equal(tensor: Tensor, other: Tensor | None) -> bool:
    return other is not None and tensor.shape == other.shape and torch.equal(tensor, other)
