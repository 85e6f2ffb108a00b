"""Shared fixtures: small real photographs from installed packages, the embedded bundle, and a service with it."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from app.main import create_app
from app.settings import Settings
from models.bundle import Bundle, load_bundle
from models.bundle_header import EVERYDAY
from models.torch_networks import TorchEnsemble
from tests.server_process import ROOT, wait_until


@pytest.fixture(scope="session", autouse=True)
def _models_are_kept() -> None:
    """Models that were made for OpenVINO are kept for the next run, and not among those of this user."""
    os.environ.setdefault("CHROMAROUTE_CACHE_DIR", str(ROOT / ".cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small pictures are fastest on one thread, and results must not depend on the number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs() -> dict[str, Image.Image]:
    """Color photographs, at most 200 px wide."""
    pixels_of = {
        "person": data.astronaut(),
        "cat": data.chelsea(),
        "food": data.coffee(),
        "flower": load_sample_image("flower.jpg"),
        "city": load_sample_image("china.jpg"),
    }
    pictures = {name: Image.fromarray(pixels) for name, pixels in pixels_of.items()}
    return {name: picture.resize((200, round(200 * picture.height / picture.width))) for name, picture in pictures.items()}


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Encode a Pillow image."""

    def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def pictures(photographs: dict[str, Image.Image], encoded: Callable[..., bytes]) -> dict[str, bytes]:
    """JPEG files of gray photographs."""
    return {f"{name}.jpg": encoded(picture.convert("L"), "JPEG") for name, picture in photographs.items()}


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The embedded bundle."""
    return load_bundle(EVERYDAY)


@pytest.fixture(scope="session")
def ensemble(bundle: Bundle) -> TorchEnsemble:
    """An ensemble of the embedded bundle."""
    return TorchEnsemble(bundle)


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A ready service in this process."""
    with TestClient(create_app(Settings(max_pixels=1_000_000, max_bytes=2_000_000, jobs=False))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@pytest.fixture(scope="session")
def category_folders(photographs: dict[str, Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset: crops of photographs in folders for three categories and *general*."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for category, name in (("cat", "cat"), ("food", "food"), ("flower", "flower"), ("general", "city")):
        folder = root / category
        folder.mkdir()
        picture = photographs[name]
        for index in range(12):
            left, top = (int(rng.integers(0, side - 90)) for side in picture.size)
            picture.crop((left, top, left + 90, top + 90)).save(folder / f"{index:02}.png")
    return root
