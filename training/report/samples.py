"""Sample pictures of a report: photographs that packages ship, or a folder of one's own."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from models.ensemble import Ensemble
from models.imaging import Picture
from models.options import RouteOptions
from training.data.dataset_index import DataError
from training.data.packs import decode_rgb
from training.data.prepare import SUFFIXES
from training.evaluation.image_result import merge_rgb
from training.evaluation.results import Sample

HEIGHT = 200  # pixels

REASONS = {"confident": "confident", "below_threshold": "below the threshold, so the fallback", "unmapped": "of no category"}


def packaged_samples() -> Iterator[tuple[str, np.ndarray]]:
    """Six photographs of scikit-image and scikit-learn, RGB bytes `(h,w,3)`, with their names."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    yield "astronaut", data.astronaut()
    yield "chelsea", data.chelsea()
    yield "coffee", data.coffee()
    yield "china", load_sample_image("china.jpg")
    yield "flower", load_sample_image("flower.jpg")
    yield "rocket", data.rocket()


def folder_samples(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The color pictures of a folder, in the order of their names.

    Raises:
        DataError: there are none, or one cannot be decoded.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder} has no pictures to show: give a folder with {', '.join(sorted(SUFFIXES))} files.")
    for path in paths:
        yield path.stem, decode_rgb(path.read_bytes())


def sample_strips(ensemble: Ensemble, samples: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[Sample, bytes]]:
    """For each sample its route, and a strip as JPEG: gray, routed, by the general expert alone, and true."""
    for name, rgb in samples:
        image = Image.fromarray(rgb)
        truth = image.resize((max(1, round(HEIGHT * image.width / image.height)), HEIGHT))
        picture = Picture(np.array(truth.convert("L")), None, "PNG")
        ab, decision = ensemble.predict(picture)
        general, _ = ensemble.predict(picture, RouteOptions(category=ensemble.bundle.router.fallback))
        strip = Image.new("RGB", (4 * truth.width + 12, HEIGHT), "white")
        colorized = [Image.fromarray(merge_rgb(picture, predicted)) for predicted in (ab, general)]
        for index, view in enumerate((truth.convert("L").convert("RGB"), *colorized, truth)):
            strip.paste(view, (index * (truth.width + 4), 0))
        route = f"{decision.category}, {decision.confidence:.0%} ({REASONS[decision.reason]})"
        buffer = io.BytesIO()
        strip.save(buffer, "JPEG", quality=92)
        yield Sample(name=name, caption=f"{name}: {route}; expert {decision.experts[0].name}"), buffer.getvalue()
