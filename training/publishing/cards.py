"""The files of a bundle while it is made: fp16 safetensors in memory, and a card for each."""

import hashlib
from collections.abc import Callable
from typing import Any

from safetensors.torch import save
from torch import Tensor

from models.colorizers import TapColorizer
from models.manifest import ExpertCard, RouterCard, TrunkCard
from training.learner import part
from training.publishing.base import Base
from training.trained import BASE, Trained

IMAGENET_LICENSE = "the terms of torchvision's ImageNet weights"


class Cards:
    """Collects `files` and `trunks`; nothing is on the disk before the bundle is whole."""

    def __init__(self, license: str, base: Base | None, working_size: int) -> None:
        self.license, self.base, self.working_size = license, base, working_size
        self.files: dict[str, bytes] = {}
        self.trunks: dict[str, TrunkCard] = {}
        if base is not None:
            self.trunks[base.name] = self.card(TrunkCard, "trunk", part(base.tensors, "trunk."), base.data, family="vgg_trunk",
                                               arguments={"network": base.meta["trunk"]}, working_size=working_size)  # fmt: skip

    def card(self, kind: Callable[..., Any], name: str, tensors: dict[str, Tensor], data: str, **values: Any) -> Any:
        """The card of a checkpoint; `data` names what it was trained on."""
        half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        content = save({key: tensor.contiguous() for key, tensor in half.items()})
        file = f"{name}.safetensors"
        self.files[file] = content
        values = {"license": self.license, **values}
        return kind(file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), data=data, **values)

    def expert(self, file: str, category: str, trained: Trained, arguments: dict[str, Any]) -> ExpertCard:
        """The card of a colorizer, and of its trunk where that is not here yet."""
        size = self.working_size if trained.trunk == BASE else trained.size
        card: ExpertCard = self.card(ExpertCard, file, trained.tensors, trained.data, family=trained.family,
                                     arguments=arguments, trunk=self._trunk(trained), category=category,
                                     working_size=size)  # fmt: skip
        return card

    def keep(self, router: RouterCard, experts: dict[str, ExpertCard]) -> None:
        """Forget a trunk that neither the router nor an expert reads."""
        used = {router.trunk, *(card.trunk for card in experts.values())}
        self.trunks = {name: card for name, card in self.trunks.items() if name in used}
        wanted = {card.file for card in (router, *experts.values(), *self.trunks.values())}
        self.files = {name: content for name, content in self.files.items() if name in wanted}

    def _trunk(self, trained: Trained) -> str | None:
        if trained.trunk is None:
            return None
        if trained.trunk == BASE:
            assert self.base is not None
            return self.base.name
        assert isinstance(trained.network, TapColorizer)
        name = f"{trained.trunk}-{trained.size}"
        if name not in self.trunks:
            source = trained.meta["trunk"]
            license = IMAGENET_LICENSE if source["weights"] != "everyday" else self.license
            self.trunks[name] = self.card(TrunkCard, trained.trunk, trained.network.trunk.state_dict(), "", family="vgg_trunk",
                                          arguments={"network": source["network"]}, working_size=trained.size,
                                          license=license)  # fmt: skip
        return name
