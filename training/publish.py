"""Join finished runs into a bundle: calibrate, keep the experts that pay, write fp16 safetensors and the manifest."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import save
from torch import Tensor

from models.bundle import load_bundle
from models.classifiers import HeadClassifier, imagenet_mapping
from models.colorizers.vgg_expert import VggExpert
from models.manifest import MANIFEST, ExpertCard, Manifest, RouterCard, TrunkCard
from models.vgg import VggTrunk
from training.calibration import ReadOut, choose_read_out, choose_temperature, choose_threshold, router_logits
from training.checkpoints import load_state
from training.config import BundleRecipe, ImageNetRouter
from training.data.batches import Batch, plain_batches
from training.data.manifest import digest
from training.data.packs import Pack
from training.fit import BEST
from training.imagenet import imagenet_weights
from training.run import GENERAL, Material, select
from training.tasks.base import part

MARGIN = 0.0  # an expert is kept if its validation ΔE94 is below the general expert's by more than this


class Publisher:
    """Builds a bundle in a folder of its own and puts it in place when it is whole and loads."""

    def __init__(self, recipe: BundleRecipe, material: Material, runs: Path, console: Console) -> None:
        self.recipe, self.material, self.runs, self.console = recipe, material, runs, console
        tensors, meta = load_state(runs / recipe.base / BEST)
        self.meta, self.tensors = meta, tensors
        self.trunk = VggTrunk(meta["trunk"]).eval()
        self.trunk.load_state_dict(part(tensors, "trunk."))
        self.data = digest(select(material.entries, recipe.data.sets, "train"))
        self.files: dict[str, bytes] = {}

    def publish(self, folder: Path) -> Manifest:
        """Write the bundle to `folder`, replacing what is there only once the new one has been loaded.

        Raises:
            CheckpointError: a run that the recipe names has no checkpoint.
            BundleError: the parts do not fit together.
        """
        trunk = self._card(TrunkCard, "trunk", part(self.tensors, "trunk."), family="vgg_trunk",
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
        head = HeadClassifier(self.trunk.channels, categories[:-1]).eval()
        head.load_state_dict(part(self.tensors, "head."))
        logits, labels = router_logits(self.trunk, head, self._validation(self.material.val))
        temperature = choose_temperature(logits, labels)
        probabilities = (logits / temperature).softmax(dim=1)
        threshold = choose_threshold(probabilities, labels, self.recipe.router.risk)
        right = float((probabilities.argmax(dim=1) == labels).float().mean())
        self.console.print(f"router: {right:.1%} right, temperature {temperature}, threshold {threshold}")
        return self._card(RouterCard, "router", part(self.tensors, "head."), family="head",
                          arguments={"categories": categories[:-1], "temperature": temperature}, trunk=self.recipe.base,
                          threshold=threshold, fallback=GENERAL, scores={"validation_top1": right})  # fmt: skip

    def _imagenet_router(self, options: ImageNetRouter, trunks: dict[str, TrunkCard]) -> tuple[RouterCard, tuple[str, ...]]:
        state = imagenet_weights(options.network, Path(options.weights) if options.weights else None)
        licence = "the terms of torchvision's ImageNet weights"
        trunks[options.network] = self._card(TrunkCard, options.network, _only(state, "features."), family="vgg_trunk",
                                             arguments={"network": options.network}, working_size=224,
                                             licence=licence)  # fmt: skip
        card = self._card(RouterCard, "router", _only(state, "classifier."), family="imagenet",
                          arguments={"mapping": options.mapping, "score": options.score}, trunk=options.network,
                          threshold=options.threshold, fallback=options.fallback, licence=licence)  # fmt: skip
        found = sorted({category for category in imagenet_mapping(options.mapping) if category})
        return card, tuple(dict.fromkeys((*found, options.fallback)))

    def _experts(self, categories: tuple[str, ...]) -> tuple[dict[str, ExpertCard], dict[str, str]]:
        """The experts that pay, and which of them paints each category."""
        general = part(self.tensors, "expert.")
        experts = {GENERAL: self._vgg_expert(GENERAL, general, self._validation(self.material.val))}
        painted_by = dict.fromkeys(categories, GENERAL)
        for category in categories:
            path = self.runs / self.recipe.experts / category / BEST
            if not self.recipe.experts or category == GENERAL or not path.is_file():
                continue
            tensors, meta = load_state(path)
            if meta["family"] != "vgg_expert":
                experts[category] = self._card(ExpertCard, category, part(tensors, "expert."), family=meta["family"],
                                               arguments=meta["arguments"], category=category,
                                               working_size=self.recipe.working_size)  # fmt: skip
                painted_by[category] = category
                continue
            own = list(self._validation(self.material.of(self.material.val, category)))
            rival = self._read_out(general, own).error
            card = self._vgg_expert(category, part(tensors, "expert."), own, rival)
            if card.scores["validation_delta_e94"] < rival - MARGIN:
                experts[category], painted_by[category] = card, category
            else:
                del self.files[card.file]
        self.console.print(f"{len(experts)} experts for {len(painted_by)} categories")
        return experts, painted_by

    def _vgg_expert(
        self, category: str, tensors: dict[str, Tensor], batches: Iterable[Batch], rival: float | None = None
    ) -> ExpertCard:
        read_out = self._read_out(tensors, batches)
        self.console.print(
            f"{category}: ΔE94 {read_out.error:.3f}" + (f" against general's {rival:.3f}" if rival is not None else "")
            + f", chroma {read_out.chroma:.2f}, {read_out.arguments()}"
        )  # fmt: skip
        scores = {"validation_delta_e94": read_out.error, "validation_chroma": read_out.chroma}
        if rival is not None:
            scores["general_delta_e94"] = rival
        return self._card(ExpertCard, category, tensors, family="vgg_expert", arguments=read_out.arguments(),
                          trunk=self.recipe.base, category=category, working_size=self.recipe.working_size,
                          scores=scores)  # fmt: skip

    def _read_out(self, tensors: dict[str, Tensor], batches: Iterable[Batch]) -> ReadOut:
        expert = VggExpert(self.trunk).eval()
        expert.load_state_dict(tensors)
        return choose_read_out(self.trunk, expert, batches, self.recipe.least_chroma)

    def _validation(self, pack: Pack) -> Iterable[Batch]:
        return plain_batches(pack, 32, self.recipe.working_size)

    def _card(self, kind: Callable[..., Any], name: str, tensors: dict[str, Tensor], **values: Any) -> Any:
        """The card of a checkpoint whose file is kept in memory until the bundle is whole."""
        half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        content = save({key: tensor.contiguous() for key, tensor in half.items()})
        file = f"{name}.safetensors"
        self.files[file] = content
        values = {"licence": self.recipe.licence, **values}
        return kind(file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), data=self.data, **values)

    def _put_in_place(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            fresh = Path(aside) / folder.name
            fresh.mkdir()
            for name, content in self.files.items():
                (fresh / name).write_bytes(content)
            load_bundle(fresh)
            if folder.exists():
                folder.rename(Path(aside) / "old")
            fresh.rename(folder)


def _only(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
