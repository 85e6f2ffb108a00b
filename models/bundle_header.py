"""What is known of a bundle without its networks: the manifest, its digest and the router. Nothing here needs torch."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import BundleError, CheckpointError
from models.imagenet import imagenet_categories
from models.manifest import Card, Manifest, RouterCard, read_manifest
from models.router import Router

EVERYDAY = Path(__file__).parent / "bundles" / "everyday"


@dataclass(frozen=True)
class BundleHeader:
    """A bundle without its networks. `digest` is the sha256 of the manifest."""

    manifest: Manifest
    digest: str
    router: Router

    @property
    def label(self) -> str:
        """Name and short digest, for headers and decision records."""
        return f"{self.manifest.name}@{self.digest[:12]}"


def read_header(folder: Path) -> BundleHeader:
    """What the manifest of the bundle in `folder` says.

    Raises:
        BundleError: there is no manifest, or it is not valid.
    """
    manifest, content = read_manifest(folder)
    with card_errors("the router"):
        known = _categories(manifest.router)
    others = [category for category in manifest.categories if category not in known]
    router = Router(known, manifest.router.fallback, manifest.router.threshold, others)
    if unserved := set(router.choices) - set(manifest.categories):
        raise BundleError(f"the router of {folder} has categories without an expert: {', '.join(sorted(unserved))}.")
    return BundleHeader(manifest, hashlib.sha256(content).hexdigest(), router)


def read_file(path: Path, card: Card, what: str) -> bytes:
    """The content of the file of a card; arguments and errors as for `check_file`."""
    _check_size(path, card, what)
    content = path.read_bytes()
    _check_digest(path, hashlib.sha256(content).hexdigest(), card, what)
    return content


def check_file(path: Path, card: Card, what: str) -> None:
    """Compare the file of a card with its size and its sha256, without reading it into memory.

    Args:
        path: of the file.
        card: its size and sha256.
        what: the name of the checkpoint for error messages.

    Raises:
        CheckpointError: the file is missing or altered.
    """
    _check_size(path, card, what)
    with path.open("rb") as file:
        _check_digest(path, hashlib.file_digest(file, "sha256").hexdigest(), card, what)


def _check_size(path: Path, card: Card, what: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"the file of {what}, {path}, is missing: restore the bundle.")
    size = path.stat().st_size
    if size != card.bytes:
        raise CheckpointError(f"the file of {what}, {path}, has {size} bytes and its card says {card.bytes}: restore the bundle.")


def _check_digest(path: Path, actual: str, card: Card, what: str) -> None:
    if actual != card.sha256:
        raise CheckpointError(
            f"the file of {what}, {path}, has the sha256 {actual} and its card says {card.sha256}: "
            "it was altered or truncated; restore the bundle."
        )


@contextmanager
def card_errors(what: str) -> Iterator[None]:
    """Turns the errors of arguments into a BundleError that names the card."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise BundleError(f"the card of {what} is not valid: {error}.") from error


def _categories(card: RouterCard) -> tuple[str, ...]:
    """The categories that the classifier of a card knows."""
    if card.family == "imagenet":
        return imagenet_categories(card.arguments.get("mapping", "everyday"))
    if card.family != "head":
        raise ValueError(f"there is no classifier {card.family!r}: give head or imagenet")
    categories = card.arguments.get("categories")
    if not isinstance(categories, list) or not all(isinstance(category, str) for category in categories):
        raise ValueError("the argument categories of a head is a list of names")
    return tuple(categories)
