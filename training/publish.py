"""Join finished runs into a bundle: calibrate, keep the experts that pay, write fp16 safetensors and the manifest."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import save
from torch import Tensor

from models.bundle import load_bundle
from models.classifiers import HeadClassifier, imagenet_mapping
from models.colorizers import COLORIZERS
from models.colorizers.vgg_expert import VggExpert
from models.errors import BundleError, CheckpointError
from models.files import replace_folder
from models.manifest import MANIFEST, ExpertCard, Manifest, RouterCard, TrunkCard
from models.vgg import VggTrunk
from training.calibration import (
    ReadOut,
    choose_read_out,
    choose_temperature,
    choose_threshold,
    chroma_share,
    pays,
    picture_errors,
    router_logits,
)
from training.checkpoints import file_digest, load_state
from training.config import BundleRecipe, ImageNetRouter
from training.data.batches import Batch, plain_batches
from training.data.manifest import DataError
from training.data.packs import Pack
from training.fit import BEST
from training.imagenet import imagenet_weights
from training.run import GENERAL, Material, torch_device
from training.tasks.base import part

PICTURES = 1000  # at most so many are calibrated on: all their distributions are in memory at once


class Publisher:
    """Builds a bundle in memory, and puts it in place when it is whole and loads.

    Raises:
        CheckpointError: the recipe's base has no checkpoint, or is no joint run.
        DataError: the manifest has other categories than the base was trained on.
    """

    def __init__(self, recipe: BundleRecipe, material: Material, runs: Path, console: Console, device: str = "cpu") -> None:
        self.recipe, self.material, self.runs, self.console = recipe, material, runs, console
        self.device = torch_device(device)
        self.tensors, self.meta = load_state(runs / recipe.base / BEST)
        if "trunk" not in self.meta:
            raise CheckpointError(f"{runs / recipe.base} has no trunk: the base of a bundle is a run of the task `joint`.")
        if tuple(self.meta["categories"]) != material.categories:
            raise DataError(
                f"{runs / recipe.base} was trained on the categories {', '.join(self.meta['categories'])}, "
                f"and the manifest has {', '.join(material.categories)}: publish with the manifest of the training."
            )
        self.base_data: str = self.meta["origin"]["data"]
        self.trunk = VggTrunk(self.meta["trunk"]).eval().to(self.device)
        self.trunk.load_state_dict(part(self.tensors, "trunk."))
        self.files: dict[str, bytes] = {}
        self.expert_files: set[str] = set()

    def publish(self, folder: Path) -> Manifest:
        """Write the bundle to `folder`. What is there is replaced once the new one has been loaded; its other files are kept.

        Raises:
            CheckpointError: an expert was trained on another base.
            BundleError: the parts do not fit together, or `folder` has something else in it.
        """
        if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
            raise BundleError(f"{folder} has files and is no bundle: choose a new or an empty folder with --out.")
        trunk = self._card(TrunkCard, "trunk", part(self.tensors, "trunk."), self.base_data, family="vgg_trunk",
                           arguments={"network": self.meta["trunk"]}, working_size=self.recipe.working_size)  # fmt: skip
        trunks = {self.recipe.base: trunk}
        if isinstance(self.recipe.router, ImageNetRouter):
            router, categories = self._imagenet_router(self.recipe.router, trunks)
        else:
            router, categories = self._own_router(), tuple(self.meta["categories"])
        experts, painted_by = self._experts(categories)
        manifest = Manifest(
            name=self.recipe.name, description=self.recipe.description, licence=self.recipe.licence,
            sources=self.recipe.sources, categories=painted_by, trunks=trunks, router=router, experts=experts,
        )  # fmt: skip
        self.files[MANIFEST] = (manifest.model_dump_json(indent=1) + "\n").encode()
        self._put_in_place(folder)
        return manifest

    def _own_router(self) -> RouterCard:
        categories = tuple(self.meta["categories"])
        head = HeadClassifier(self.trunk.channels, categories[:-1]).eval().to(self.device)
        head.load_state_dict(part(self.tensors, "head."))
        logits, labels = router_logits(self.trunk, head, self._batches(self.material.val))
        temperature = choose_temperature(logits, labels)
        probabilities = (logits / temperature).softmax(dim=1)
        threshold = choose_threshold(probabilities, labels, self.recipe.router.risk)
        right = float((probabilities.argmax(dim=1) == labels).float().mean())
        self.console.print(f"router: {right:.1%} right, temperature {temperature}, threshold {threshold}")
        return self._card(RouterCard, "router", part(self.tensors, "head."), self.base_data, family="head",
                          arguments={"categories": categories[:-1], "temperature": temperature}, trunk=self.recipe.base,
                          threshold=threshold, fallback=GENERAL, scores={"validation_top1": right})  # fmt: skip

    def _imagenet_router(self, options: ImageNetRouter, trunks: dict[str, TrunkCard]) -> tuple[RouterCard, tuple[str, ...]]:
        state = imagenet_weights(options.network, Path(options.weights) if options.weights else None)
        licence = "the terms of torchvision's ImageNet weights"
        trunks[options.network] = self._card(TrunkCard, options.network, _only(state, "features."), "", family="vgg_trunk",
                                             arguments={"network": options.network}, working_size=224,
                                             licence=licence)  # fmt: skip
        card = self._card(RouterCard, "router", _only(state, "classifier."), "", family="imagenet",
                          arguments={"mapping": options.mapping, "score": options.score}, trunk=options.network,
                          threshold=options.threshold, fallback=options.fallback, licence=licence)  # fmt: skip
        found = sorted({category for category in imagenet_mapping(options.mapping) if category})
        return card, tuple(dict.fromkeys((*found, *self.meta["categories"], options.fallback)))

    def _experts(self, categories: tuple[str, ...]) -> tuple[dict[str, ExpertCard], dict[str, str]]:
        """The experts that pay, and which of them paints each category."""
        tensors = part(self.tensors, "expert.")
        general = self._vgg_expert(tensors)
        everything = list(self._batches(self.material.val.spread(PICTURES)))
        read_out = self._calibrate(general, everything, self.recipe.least_chroma)
        experts = {GENERAL: self._expert_card(GENERAL, GENERAL, tensors, self.base_data, read_out)}
        self.console.print(f"{GENERAL}: {read_out}")
        painted_by = dict.fromkeys(categories, GENERAL)
        for category in self.material.categories[:-1]:
            if category not in categories:
                continue
            own = list(self._batches(self.material.of(self.material.val, category).spread(PICTURES)))
            _set(general, read_out)
            best, card = picture_errors(general, own), None
            floor = min(self.recipe.least_chroma, chroma_share(general, own))  # a rival must be as vivid, not more
            for errors, candidate in self._candidates(category, general, own, floor):
                figures = f"ΔE94 {errors.mean():.3f} against {best.mean():.3f}"
                self.console.print(f"{category}: {figures}, {candidate.file} {candidate.arguments}")
                if pays(errors, best):
                    scores = {"validation_delta_e94": float(errors.mean())}
                    best, card = errors, candidate.model_copy(update={"scores": scores})
            if card is not None:
                experts[category], painted_by[category] = card, category
        wanted = {card.file for card in experts.values()}
        self.files = {name: content for name, content in self.files.items() if name in wanted or name not in self.expert_files}
        self.console.print(f"{len(experts)} experts for {len(painted_by)} categories")
        return experts, painted_by

    def _candidates(self, category: str, general: VggExpert, own: list[Batch], floor: float) -> Iterator[tuple[Tensor, ExpertCard]]:
        """What could paint a category better than the general expert: that one read out anew, or a network of its own.

        Each comes with its errors on the category's pictures `own`.
        """
        read_out = self._calibrate(general, own, floor)
        tensors = part(self.tensors, "expert.")
        yield picture_errors(general, own), self._expert_card(GENERAL, category, tensors, self.base_data, read_out)
        path = self.runs / self.recipe.experts / category / BEST
        if not self.recipe.experts or not path.is_file():
            return
        tensors, meta = load_state(path)
        tensors, data = part(tensors, "expert."), meta["origin"]["data"]
        if meta["family"] == "vgg_expert":
            self._check_base(path, meta)
            expert = self._vgg_expert(tensors)
            read_out = self._calibrate(expert, own, floor)
            yield picture_errors(expert, own), self._expert_card(category, category, tensors, data, read_out)
        else:
            network = COLORIZERS[meta["family"]](**meta["arguments"]).eval().to(self.device)
            network.load_state_dict(tensors)
            card = self._card(ExpertCard, category, tensors, data, family=meta["family"], arguments=meta["arguments"],
                              category=category, working_size=self.recipe.working_size)  # fmt: skip
            yield picture_errors(network, own), card

    def _check_base(self, path: Path, meta: dict[str, Any]) -> None:
        if meta["origin"].get("base") != file_digest(self.runs / self.recipe.base / BEST):
            raise CheckpointError(f"{path.parent} was fine-tuned from another {self.recipe.base}: delete it and train it again.")

    def _vgg_expert(self, tensors: dict[str, Tensor]) -> VggExpert:
        expert = VggExpert(self.trunk).eval().to(self.device)
        expert.load_state_dict(tensors)
        return expert

    def _calibrate(self, expert: VggExpert, batches: list[Batch], least_chroma: float) -> ReadOut:
        """Choose and set the expert's read-out on these pictures."""
        read_out = choose_read_out(self.trunk, expert, batches, least_chroma)
        _set(expert, read_out)
        return read_out

    def _expert_card(self, file: str, category: str, tensors: dict[str, Tensor], data: str, read_out: ReadOut) -> ExpertCard:
        return self._card(ExpertCard, file, tensors, data, family="vgg_expert", arguments=read_out.arguments(),
                          trunk=self.recipe.base, category=category, working_size=self.recipe.working_size)  # fmt: skip

    def _batches(self, pack: Pack) -> Iterator[Batch]:
        for batch in plain_batches(pack, 32, self.recipe.working_size):
            yield batch.to(self.device)

    def _card(self, kind: Callable[..., Any], name: str, tensors: dict[str, Tensor], data: str, **values: Any) -> Any:
        """The card of a checkpoint whose file is kept in memory until the bundle is whole; `data` names what it was trained on."""
        half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        content = save({key: tensor.contiguous() for key, tensor in half.items()})
        file = f"{name}.safetensors"
        self.files[file] = content
        if kind is ExpertCard:
            self.expert_files.add(file)
        values = {"licence": self.recipe.licence, **values}
        return kind(file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), data=data, **values)

    def _put_in_place(self, folder: Path) -> None:
        others = {
            path.name: path.read_bytes()
            for path in (folder.iterdir() if folder.exists() else ())
            if path.is_file() and path.name != MANIFEST and path.suffix != ".safetensors"
        }
        replace_folder(folder, {**others, **self.files}, check=load_bundle)


def _set(expert: VggExpert, read_out: ReadOut) -> None:
    expert.temperature, expert.mute, expert.saturation = read_out.temperature, read_out.mute, read_out.saturation


def _only(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
