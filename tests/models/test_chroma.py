import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from models import chroma, encoding
from models.lab import lab_to_srgb, luma_to_lightness
from models.metadata import Metadata


def color(a: float, b: float) -> np.ndarray:
    """One color everywhere."""
    return np.array([a, b], np.float32).reshape(1, 2, 1, 1)


def gray_of(rgb: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(rgb).convert("L")).astype(int)


@given(
    gray=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    ab=arrays.arrays(np.float32, (1, 2, 4, 5), elements=st.floats(-128, 128, width=32)),
)
@settings(max_examples=60, deadline=None)
def test_luma_is_preserved_for_any_color(gray: np.ndarray, ab: np.ndarray) -> None:
    rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, ab))
    assert rgb.shape == (*gray.shape, 3)
    assert np.abs(gray_of(rgb) - gray).max() <= 1


def test_color_has_requested_hue_and_strength() -> None:
    gray = np.full((8, 8), 128, np.uint8)
    for ab, strongest in (((50.0, 40.0), 0), ((-60.0, 40.0), 1), ((10.0, -50.0), 2)):
        rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, color(*ab)))
        assert int(rgb[4, 4].argmax()) == strongest
        assert rgb[4, 4].max() - rgb[4, 4].min() > 40


def test_black_and_white_stay_neutral() -> None:
    gray = np.array([[0, 255]], np.uint8)
    rgb = chroma.join_rgb(gray, chroma.chroma_planes(gray, color(90, 90)))
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[0, 1].tolist() == [255, 255, 255]


def test_size_of_strips_does_not_change_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gray = np.full((300, 200), 120, np.uint8)
    planes = (rng.random((2, 50, 40), np.float32) - 0.5) * 100
    whole = chroma.join_rgb(gray, planes)
    monkeypatch.setattr(chroma, "STRIP", 7)
    assert np.abs(chroma.join_rgb(gray, planes).astype(int) - whole).max() <= 1


def test_thin_black_and_white_lines_stay_neutral_in_jpeg() -> None:
    gray = np.full((1500, 1500), 128, np.uint8)
    gray[:, 100::200], gray[:, 101::200] = 0, 0
    gray[:, 200::200], gray[:, 201::200] = 255, 255
    planes = chroma.join_ycbcr(gray, chroma.chroma_planes(gray, color(60, 50)))
    picture = Image.merge("YCbCr", [Image.fromarray(plane).resize((1500, 1500), Image.Resampling.NEAREST) for plane in planes])
    rgb = np.array(picture.convert("RGB"))
    assert rgb[:, 300].max() <= 2
    assert rgb[:, 400].min() >= 253
    assert rgb[:, 150].max() - rgb[:, 150].min() > 40


def test_jpeg_contains_exact_luma_plane() -> None:
    rng = np.random.default_rng(0)
    gray = np.asarray(Image.fromarray(rng.integers(40, 200, (12, 16), dtype=np.uint8)).resize((160, 120), Image.Resampling.BICUBIC))
    planes = chroma.chroma_planes(gray, color(20, 30))
    y, cb, cr = chroma.join_ycbcr(gray, planes)
    assert y is gray
    for quality, excess in ((90, 1.1), (96, 1)):  # below 96 the encoder's cosine transform is a fast one
        content = encoding.encode(chroma.YCbCr(y, cb, cr), None, "jpeg", quality, Metadata())
        plain = io.BytesIO()
        Image.fromarray(gray).save(plain, "JPEG", quality=quality)
        errors = []
        for file in (io.BytesIO(content), plain):
            with Image.open(file) as image:
                image.draft("L", image.size)
                errors.append(np.abs(np.array(image).astype(int) - gray).mean())
        assert errors[0] <= excess * errors[1] < 1


@pytest.mark.parametrize("shape", [(133, 200), (200, 133), (133, 201), (1, 1)])
def test_jpeg_of_odd_sides_does_not_depend_on_memory_beyond_the_planes(shape: tuple[int, int]) -> None:
    contents = set()
    for fill in (0, 255):
        memory = np.full((shape[0] + 1, shape[1]), fill, np.uint8)
        memory[:-1] = 120
        planes = chroma.join_ycbcr(memory[:-1], chroma.chroma_planes(memory[:-1], color(20, 30)))
        contents.add(encoding.encode(planes, None, "jpeg", 90, Metadata()))
    (content,) = contents
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == shape[::-1]
        assert np.ptp(np.array(image.convert("L"))) <= 1


def test_merged_color_is_that_of_an_exact_conversion_at_every_pixel(photographs: dict[str, Image.Image]) -> None:
    """With the lightness of each pixel, and chroma reduced in CIELAB where the color is outside of the gamut."""
    coarse = (np.random.default_rng(0).random((1, 2, 8, 12), np.float32) - 0.5) * 60
    for picture in photographs.values():
        gray = np.asarray(picture.convert("L").resize((800, 600), Image.Resampling.BICUBIC))
        merged = chroma.join_rgb(gray, chroma.chroma_planes(gray, coarse))
        L = luma_to_lightness(gray.astype(np.float32) / 255)[None, None]
        lab = np.concatenate((L, chroma.resize(coarse, gray.shape)), axis=1)
        exact = np.moveaxis(lab_to_srgb(lab)[0], 0, 2)
        inside = (exact > 0.02).all(axis=2) & (exact < 0.98).all(axis=2)  # where nothing is reduced or clipped
        difference = deltaE_ciede2000(rgb2lab(merged), rgb2lab(exact))[inside]
        assert difference.mean() < 1
        assert np.percentile(difference, 99) < 5
