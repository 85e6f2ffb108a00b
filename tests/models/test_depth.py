"""Pictures of 16 bits come back with 16 bits in the formats that hold them, with their luma and alpha unchanged."""

import io
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image

from models.ensemble import Ensemble
from models.metadata import FORMAT_NAMES
from models.options import Options
from models.pipeline import colorize
from tests.picture_files import Array, png, tiff

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def gray(photographs: dict[str, Image.Image]) -> Array:
    """A photograph in 16 bits, with levels that 8 bits cannot represent."""
    levels = np.asarray(photographs["flower"].convert("L")).clip(0, 254).astype(np.uint16) * 257
    levels[:, ::3] += 100
    return levels


def read_16_bit(content: bytes, format: str) -> Array:
    """The 16-bit samples of a file, without our own decoder."""
    if format == "tiff":
        return np.asarray(tifffile.imread(io.BytesIO(content)))
    assert content[24] == 16
    channels = {2: 3, 6: 4}[content[25]]
    width, height = (int.from_bytes(content[place : place + 4]) for place in (16, 20))
    packed, place = b"", 8
    while place < len(content):
        length, name = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        packed += content[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * 2 * channels)
    assert set(rows[:, 0]) == {2}
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).copy().view(">u2").reshape(height, width, channels)


def luma_of(rgb: Array) -> Array:
    return (rgb[..., :3].astype(np.int64) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16


@pytest.mark.parametrize("source", ["PNG", "TIFF"])
@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_16_bit_gray_gives_16_bit_rgb(source: str, output_format: str, gray: Array, encoded: Encode, ensemble: Ensemble) -> None:
    output, format, _ = colorize(encoded(Image.fromarray(gray), source, dpi=(600, 600)), ensemble, Options(format=output_format))
    assert format == output_format
    rgb = read_16_bit(output, output_format)
    assert rgb.shape == (*gray.shape, 3)
    assert np.abs(luma_of(rgb) - gray).max() <= 1
    assert np.ptp(rgb.astype(int), axis=2).max() > 2_000
    with Image.open(io.BytesIO(output)) as image:
        assert np.abs(np.array(image.convert("RGB").convert("L")).astype(int) - np.round(gray / 257)).max() <= 1
        assert round(image.info["dpi"][0]) == 600


def color(gray: Array) -> Array:
    return np.dstack((gray, gray[::-1], gray // 2))


SOURCES: dict[str, Callable[[Array], bytes]] = {
    "png gray and alpha": lambda gray: png(np.dstack((gray, gray[::-1])), 4),
    "png rgb": lambda gray: png(color(gray), 2),
    "png rgb and alpha": lambda gray: png(np.dstack((color(gray), gray[::-1])), 6),
    "tiff gray and alpha": lambda gray: tiff(np.dstack((gray, gray[::-1])), extrasamples=[2]),
    "tiff rgb": lambda gray: tiff(color(gray), photometric="rgb", byteorder=">"),
    "tiff rgb and alpha": lambda gray: tiff(np.dstack((color(gray), gray[::-1])), photometric="rgb", extrasamples=[2]),
    "tiff float": lambda gray: tiff((gray / 65_535).astype(np.float32)),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_16_bits_of_every_source_come_back(source: str, output_format: str, gray: Array, ensemble: Ensemble) -> None:
    gray = gray[:60, :80]
    output, _, decision = colorize(SOURCES[source](gray), ensemble, Options(format=output_format))
    pixels = read_16_bit(output, output_format)
    assert pixels.dtype.itemsize == 2
    assert pixels.shape[2] == (4 if "alpha" in source else 3)
    expected = np.rint(color(gray) @ (0.299, 0.587, 0.114)) if "rgb" in source else gray
    assert np.abs(luma_of(pixels) - expected).max() <= 2
    if "alpha" in source:
        assert np.array_equal(pixels[..., 3], gray[::-1])
    assert decision.notes == []


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("source", SOURCES)
def test_16_bits_become_8_with_a_note_in_other_formats(source: str, output_format: str, gray: Array, ensemble: Ensemble) -> None:
    gray = gray[:60, :80]
    options = Options(format=output_format, quality=100, saturation=0)
    output, _, decision = colorize(SOURCES[source](gray), ensemble, options)
    with Image.open(io.BytesIO(output)) as image:
        assert ("A" in image.getbands()) == ("alpha" in source and output_format != "jpeg")
        alpha = np.asarray(image.getchannel("A")).astype(int) if "A" in image.getbands() else None
        luma = np.asarray(image.convert("RGB").convert("L")).astype(int)
    if alpha is not None:
        assert np.abs(alpha - np.rint(gray[::-1] / 257)).max() <= 2
    expected = np.rint(color(gray) @ (0.299, 0.587, 0.114)) if "rgb" in source else gray
    visible = slice(None) if alpha is None else alpha > 0
    assert np.abs(luma - expected / 257)[visible].mean() < 2
    assert f"the 16 bits of the picture became 8, because {FORMAT_NAMES[output_format]} holds no more" in decision.notes
    assert ("transparency cannot be kept in JPEG" in decision.notes) == ("alpha" in source and output_format == "jpeg")


@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_transparent_level_of_16_bit_gray_stays_transparent(output_format: str, encoded: Encode, ensemble: Ensemble) -> None:
    gray = np.full((40, 50), 30_000, np.uint16)
    gray[:10] = 7
    output, _, _ = colorize(encoded(Image.fromarray(gray), "PNG", transparency=7), ensemble, Options(format=output_format))
    alpha = read_16_bit(output, output_format)[..., 3]
    assert (alpha[:10] == 0).all()
    assert (alpha[10:] == 65_535).all()


@pytest.mark.parametrize("has_alpha", [False, True])
def test_8_bits_stay_8(has_alpha: bool, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    picture = photographs["cat"].convert("LA" if has_alpha else "L")
    png_output, tiff_output = (colorize(encoded(picture), ensemble, Options(format=format))[0] for format in ("png", "tiff"))
    assert (png_output[24], png_output[25]) == (8, 6 if has_alpha else 2)
    assert tifffile.imread(io.BytesIO(tiff_output)).dtype == np.uint8
