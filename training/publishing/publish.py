"""Join finished runs into a bundle: calibrate, keep the experts that pay, write fp16 safetensors and the manifest."""

from pathlib import Path

from rich.console import Console

from models.bundle import load_bundle
from models.errors import BundleError
from models.atomic_files import replace_folder
from models.manifest import MANIFEST, Manifest
from training.config import BundleRecipe, ImageNetRouter, RecipeError
from training.material import GENERAL, Material
from training.publishing.base import load_base
from training.publishing.cards import Cards
from training.publishing.experts import Gallery
from training.publishing.routers import imagenet_router, own_router
from training.team import alone


def publish(recipe: BundleRecipe, manifest: Path, runs: Path, folder: Path, console: Console, device: str = "cpu") -> Manifest:
    """Write the bundle to `folder`. What is there is replaced once the new one has been loaded; its other files are kept.

    Raises:
        RecipeError: the recipe has neither a base nor a router that needs none.
        DataError: the manifest has other categories than the base was trained on.
        CheckpointError: a run is missing, of another kind, or was trained on another base.
        BundleError: the parts do not fit together, or `folder` has something else in it.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} has files and is no bundle: choose a new or an empty folder with --out.")
    if not recipe.base and not isinstance(recipe.router, ImageNetRouter):
        raise RecipeError("the recipe has no base, whose head would route: name a joint run, or give the router imagenet.")
    material, place = Material(recipe.data, manifest), alone(device).device
    base = load_base(runs, recipe.base, material.categories, place) if recipe.base else None
    cards = Cards(recipe.license, base, recipe.working_size)
    categories = [name for name in material.categories if name != GENERAL or base is not None or recipe.general]
    if isinstance(recipe.router, ImageNetRouter):
        router, named = imagenet_router(recipe.router, cards)
        categories = list(dict.fromkeys((*named, *categories, recipe.router.fallback)))
    else:
        assert base is not None
        router = own_router(base, material.val, recipe.router.risk, cards, console)
    experts, painted_by = Gallery(recipe, material, runs, base, cards, place, console).choose(categories)
    cards.keep(router, experts)
    whole = Manifest(
        name=recipe.name, description=recipe.description, license=recipe.license, sources=recipe.sources,
        categories=painted_by, trunks=cards.trunks, router=router, experts=experts,
    )  # fmt: skip
    _put_in_place(folder, {**cards.files, MANIFEST: (whole.model_dump_json(indent=1) + "\n").encode()})
    return whole


def _put_in_place(folder: Path, files: dict[str, bytes]) -> None:
    others = {
        path.name: path.read_bytes()
        for path in (folder.iterdir() if folder.exists() else ())
        if path.is_file() and path.name != MANIFEST and path.suffix != ".safetensors"
    }
    replace_folder(folder, {**others, **files}, check=load_bundle)
