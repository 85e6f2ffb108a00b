import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from models import chroma, encoding
from models.metadata import Metadata


def gray_of(rgb: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(rgb).convert("L")).astype(int)


@given(
    gray=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    ab=arrays.arrays(np.float32, (1, 2, 4, 5), elements=st.floats(-128, 128, width=32)),
)
@settings(max_examples=60, deadline=None)
def test_luma_is_preserved_for_any_color(gray: np.ndarray, ab: np.ndarray) -> None:
    rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, torch.from_numpy(ab)))
    assert rgb.shape == (*gray.shape, 3)
    assert np.abs(gray_of(rgb) - gray).max() <= 1


def test_color_has_requested_hue_and_strength() -> None:
    gray = np.full((8, 8), 128, np.uint8)
    for ab, strongest in (((50.0, 40.0), 0), ((-60.0, 40.0), 1), ((10.0, -50.0), 2)):
        rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, torch.tensor(ab).view(1, 2, 1, 1)))
        assert int(rgb[4, 4].argmax()) == strongest
        assert rgb[4, 4].max() - rgb[4, 4].min() > 40


def test_black_and_white_stay_neutral() -> None:
    gray = np.array([[0, 255]], np.uint8)
    rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, torch.full((1, 2, 1, 1), 90.0)))
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[0, 1].tolist() == [255, 255, 255]


def test_tile_size_does_not_change_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gray = np.full((300, 200), 120, np.uint8)
    planes = (rng.random((2, 50, 40), np.float32) - 0.5) * 100
    whole = chroma.join_rgb(gray, planes)
    monkeypatch.setattr(chroma, "TILE", 7)
    assert np.abs(chroma.join_rgb(gray, planes).astype(int) - whole).max() <= 1


def test_thin_black_and_white_lines_stay_neutral_in_jpeg() -> None:
    gray = np.full((1500, 1500), 128, np.uint8)
    gray[:, 100::200], gray[:, 101::200] = 0, 0
    gray[:, 200::200], gray[:, 201::200] = 255, 255
    planes = chroma.join_ycbcr(gray, chroma.chroma_planes(gray, torch.tensor([60.0, 50.0]).view(1, 2, 1, 1)))
    rgb = np.array(Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes]).convert("RGB"))
    assert rgb[:, 300].max() <= 2
    assert rgb[:, 400].min() >= 253
    assert rgb[:, 150].max() - rgb[:, 150].min() > 40


def test_jpeg_contains_exact_luma_plane() -> None:
    rng = np.random.default_rng(0)
    gray = np.asarray(Image.fromarray(rng.integers(40, 200, (12, 16), dtype=np.uint8)).resize((160, 120), Image.Resampling.BICUBIC))
    planes = chroma.chroma_planes(gray, torch.tensor([20.0, 30.0]).view(1, 2, 1, 1))
    y, cb, cr = chroma.join_ycbcr(gray, planes)
    assert y is gray
    content = encoding.encode(chroma.YCbCr(y, cb, cr), None, "jpeg", 95, Metadata())
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", image.size)
        assert np.abs(np.array(image).astype(int) - gray).mean() < 1
    plain = io.BytesIO()
    Image.fromarray(gray).save(plain, "JPEG", quality=95)
    with Image.open(plain) as gray_copy, Image.open(io.BytesIO(content)) as image:
        image.draft("L", image.size)
        assert np.array_equal(np.array(image), np.array(gray_copy))
