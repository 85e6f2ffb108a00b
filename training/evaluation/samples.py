"""Photographs that may be shown to anybody: the color samples of packages that the training extra depends on."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from models.ensemble import Ensemble, Options
from models.imaging import Picture
from training.data.manifest import DataError
from training.data.packs import decode_rgb
from training.evaluation.study import joined

HEIGHT = 200  # pixels
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def packaged_samples() -> Iterator[tuple[str, np.ndarray]]:
    """Six photographs of scikit-image and scikit-learn, RGB bytes `(h,w,3)`, with their names there."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    yield "astronaut", data.astronaut()
    yield "chelsea", data.chelsea()
    yield "coffee", data.coffee()
    yield "china", load_sample_image("china.jpg")
    yield "flower", load_sample_image("flower.jpg")
    yield "rocket", data.rocket()


def own_samples(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The color pictures of a folder, in the order of their names.

    Raises:
        DataError: there are none, or one cannot be decoded.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder} has no pictures to show: give a folder with {', '.join(SUFFIXES)} files.")
    for path in paths:
        yield path.stem, decode_rgb(path.read_bytes())


def sample_rows(ensemble: Ensemble, samples: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, Image.Image]]:
    """Each sample as it is in gray, painted, by the general expert alone, and in truth, side by side; with what the router said."""
    for name, rgb in samples:
        image = Image.fromarray(rgb)
        truth = image.resize((max(1, round(HEIGHT * image.width / image.height)), HEIGHT))
        picture = Picture(np.array(truth.convert("L")), None, "PNG")
        ab, decision = ensemble.paint(picture)
        general, _ = ensemble.paint(picture, Options(category=ensemble.bundle.router.fallback))
        row = Image.new("RGB", (4 * truth.width + 12, HEIGHT), "white")
        features = truth.convert("L").convert("RGB"), *(Image.fromarray(joined(picture, each)) for each in (ab, general)), truth
        for index, view in enumerate(features):
            row.paste(view, (index * (truth.width + 4), 0))
        why = {"confident": "confident", "below_threshold": "too unsure, so the fallback", "unmapped": "of no category"}[
            decision.reason
        ]
        yield f"{name}: {decision.category}, {decision.confidence:.0%} ({why}); painted by {decision.experts[0].name}", row
