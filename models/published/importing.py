"""Bundles with a published network: its file becomes an expert beside the router, and the experts, of another bundle."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from models.atomic_files import replace_folder
from models.bundle import load_bundle
from models.errors import BundleError, OptionError
from models.manifest import MANIFEST, ExpertCard, Manifest, read_manifest


@dataclass(frozen=True)
class NewExpert:
    """An expert that is added to a bundle.

    Args:
        name: of the expert, which decision records name.
        family: a key of `models.colorizers.COLORIZERS`.
        arguments: of the family.
        content: of its file.
        suffix: of its file.
        working_size: in pixels.
        fit: as of its card.
        license: of the network.
        source: where it is from.
    """

    name: str
    family: str
    arguments: Mapping[str, Any]
    content: bytes
    suffix: str
    working_size: int
    fit: str
    license: str
    source: str

    def card(self, category: str) -> ExpertCard:
        """Its card, as the expert of a category."""
        return ExpertCard.model_validate(
            {
                "family": self.family,
                "arguments": dict(self.arguments),
                "file": f"{self.name}{self.suffix}",
                "sha256": hashlib.sha256(self.content).hexdigest(),
                "bytes": len(self.content),
                "license": self.license,
                "working_size": self.working_size,
                "fit": self.fit,
                "category": category,
            }
        )


def safetensors_content(tensors: Mapping[str, Any]) -> bytes:
    """The tensors as a safetensors file."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def add_expert(expert: NewExpert, base: Path, out: Path, category: str | None, keep_experts: bool) -> Manifest:
    """Write a bundle with the router of `base` and a new expert, which is checked.

    Args:
        expert: the new one.
        base: folder of a bundle.
        out: folder of the new bundle, which is replaced if it is a bundle.
        category: for which it is the expert; by default the fallback, and all categories without an expert of their own.
        keep_experts: whether the other categories keep the experts of `base`; otherwise the new expert has all of them.

    Raises:
        BundleError: `base` cannot be read, the result cannot be loaded, or `out` contains something else.
        OptionError: there is no such category.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BundleError(f"{out} has files and is not a bundle: choose a new or an empty folder with --out.")
    manifest, _ = read_manifest(base)
    if category is not None and category not in manifest.categories:
        raise OptionError("--as", category, tuple(manifest.categories))
    replaced = manifest.categories[category or manifest.router.fallback]
    new = {each for each, name in manifest.categories.items() if (name == replaced if category is None else each == category)}
    categories = {each: expert.name if each in new or not keep_experts else name for each, name in manifest.categories.items()}
    used = {name for name in categories.values() if name in manifest.experts}
    used |= {shared for name in used if (shared := manifest.experts[name].shares) is not None}
    kept = {name: card for name, card in manifest.experts.items() if name in used}
    changed = Manifest(
        name=f"{manifest.name}-{expert.name}",
        description=f"{manifest.description} With {expert.source}.",
        license=f"{manifest.license}; {expert.name}: {expert.license}",
        sources=manifest.sources,
        categories=categories,
        trunks=manifest.trunks,
        router=manifest.router,
        experts={**kept, expert.name: expert.card(category or manifest.router.fallback)},
    )
    files = {
        card.file: (base / card.file).read_bytes() for name, card in changed.cards().items() if name != f"expert {expert.name}"
    }
    files[changed.experts[expert.name].file] = expert.content
    files[MANIFEST] = (changed.model_dump_json(indent=1, exclude_defaults=True) + "\n").encode()
    replace_folder(out, files, check=load_bundle)
    return changed
