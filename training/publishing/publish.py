"""Joins finished runs into a bundle: calibrates the router, selects experts, writes fp16 safetensors and the manifest."""

from pathlib import Path

from rich.console import Console

from models.atomic_files import replace_folder
from models.bundle import load_bundle
from models.errors import BundleError
from models.manifest import MANIFEST, Manifest
from training.config.bundle_recipe import BundleRecipe, ImageNetRouter
from training.config.section import RecipeError
from training.data.datasets import GENERAL, Datasets
from training.loop.distributed import single_process
from training.publishing.base import load_base
from training.publishing.cards import CardBuilder
from training.publishing.expert_selector import ExpertSelector
from training.publishing.routers import head_router, imagenet_router


def publish(recipe: BundleRecipe, index: Path, runs: Path, folder: Path, console: Console, device: str = "cpu") -> Manifest:
    """Write the bundle to `folder`. An existing bundle is replaced after the new one was loaded; its other files are kept.

    Raises:
        RecipeError: the recipe has neither a base nor a router that needs none.
        DataError: the dataset index has other categories than the base.
        CheckpointError: a run is missing, of another task, or was trained on another base.
        BundleError: the parts do not fit together, or `folder` contains something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} has files and is not a bundle: choose a new or an empty folder with --out.")
    if not recipe.base and not isinstance(recipe.router, ImageNetRouter):
        raise RecipeError(
            "the recipe has no base, whose head would be the router: set `base` to a joint run, or the router imagenet."
        )
    torch_device = single_process(device).device
    base = load_base(runs, recipe.base, torch_device) if recipe.base else None
    datasets = Datasets(base.completed(recipe.data) if base else recipe.data, index)
    if base:
        base.check_categories(datasets.categories)
    cards = CardBuilder(recipe.license, base, recipe.working_size)
    categories = [name for name in datasets.categories if name != GENERAL or base is not None or recipe.general]
    head = None
    if isinstance(recipe.router, ImageNetRouter):
        router, mapped = imagenet_router(recipe.router, cards)
        categories = list(dict.fromkeys((*mapped, *categories, recipe.router.fallback)))
    else:
        assert base is not None
        router, head = head_router(recipe.router, base, datasets, cards, console)
    experts, expert_of = ExpertSelector(recipe, datasets, runs, base, head, cards, torch_device, console).select(categories)
    cards.drop_unused(router, experts)
    manifest = Manifest(
        name=recipe.name, description=recipe.description, license=recipe.license, sources=recipe.sources,
        categories=expert_of, trunks=cards.trunks, router=router, experts=experts,
    )  # fmt: skip
    _replace_bundle(folder, {**cards.files, MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})
    return manifest


def _replace_bundle(folder: Path, files: dict[str, bytes]) -> None:
    others = {
        path.name: path.read_bytes()
        for path in (folder.iterdir() if folder.exists() else ())
        if path.is_file() and path.name != MANIFEST and path.suffix != ".safetensors"
    }
    replace_folder(folder, {**others, **files}, check=load_bundle)
