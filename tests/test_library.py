"""The package `chromaroute`, and the examples of docs/library.md."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chromaroute
from models.pipeline import colorize

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pipeline() -> chromaroute.Pipeline:
    return chromaroute.load()


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("L").save(buffer, "JPEG")
    return buffer.getvalue()


def test_file_is_colorized_as_by_the_models(ensemble, photographs) -> None:  # type: ignore[no-untyped-def]
    pipeline = chromaroute.load(engine="torch")
    content = jpeg(photographs["cat"])
    options = chromaroute.Options(saturation=0.5, format="png")
    output = pipeline.colorize(content, options)
    assert (output.content, output.format) == colorize(content, ensemble, options)[:2]
    assert output.media_type == "image/png"
    assert output.decision.category == pipeline.route(content).category


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_array_keeps_its_luma_and_dtype(pipeline, photographs, dtype) -> None:  # type: ignore[no-untyped-def]
    gray = np.asarray(photographs["flower"].convert("L")).astype(dtype) * (257 if dtype == np.uint16 else 1)
    rgb, decision = pipeline.colorize_array(gray)
    assert rgb.shape == (*gray.shape, 3)
    assert rgb.dtype == dtype
    levels = rgb.astype(float) @ (0.299, 0.587, 0.114)
    assert np.median(np.abs(levels - gray)) <= np.iinfo(dtype).max / 255
    assert np.ptp(rgb, axis=2).max() > np.iinfo(dtype).max / 10
    assert decision.category == pipeline.route(gray).category
    colorless, _ = pipeline.colorize_array(gray, saturation=0)
    assert np.ptp(colorless.astype(int), axis=2).max() <= 1


def test_color_array_is_converted_to_gray_first(pipeline, photographs) -> None:  # type: ignore[no-untyped-def]
    rgb = np.asarray(photographs["food"])
    gray = np.asarray(photographs["food"].convert("L"))
    assert np.array_equal(pipeline.colorize_array(rgb)[0], pipeline.colorize_array(gray)[0])


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 5), np.uint8), "scan.jpg"])
def test_other_arrays_are_rejected_with_the_valid_shapes(pipeline, array) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(chromaroute.NotAPicture, match="array"):
        pipeline.colorize_array(array)


def test_invalid_options_are_rejected(pipeline, photographs) -> None:  # type: ignore[no-untyped-def]
    gray = np.asarray(photographs["food"].convert("L"))
    with pytest.raises(chromaroute.OptionError, match="saturation is 3"):
        pipeline.colorize_array(gray, saturation=3)
    with pytest.raises(chromaroute.OptionError, match="category is 'dragon'"):
        pipeline.route(gray, chromaroute.RouteOptions(category="dragon"))
    with pytest.raises(chromaroute.OptionError, match="device is 'abacus'"):
        chromaroute.load(device="abacus")
    with pytest.raises(chromaroute.BundleError):
        chromaroute.load(ROOT / "docs")


def test_public_names_exist_and_are_documented() -> None:
    text = (ROOT / "docs" / "library.md").read_text()
    assert sorted(chromaroute.__all__) == chromaroute.__all__
    for name in chromaroute.__all__:
        assert getattr(chromaroute, name).__doc__
        assert f"`{name}" in text, name
    assert re.fullmatch(r"\d+\.\d+\.\d+", chromaroute.__version__)


def test_type_checkers_see_the_types(tmp_path: Path) -> None:
    assert (ROOT / "chromaroute" / "py.typed").is_file()
    assert (ROOT / "models" / "py.typed").is_file()


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_of_the_documentation_runs(example: str, photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    (tmp_path / "scan.jpg").write_bytes(jpeg(photographs["cat"]))
    shutil.copytree(ROOT / "models" / "bundles" / "everyday", tmp_path / "bundles" / "mine")
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_array_gets_the_colors_of_hints(pipeline: chromaroute.Pipeline) -> None:
    gray = np.full((60, 80), 120, np.uint8)
    hints = [chromaroute.Hint(x=40, y=30, color="#3050b0")]
    plain, _ = pipeline.colorize_array(gray)
    hinted, decision = pipeline.colorize_array(gray, hints=hints)
    assert decision.hints == 1
    assert int(hinted[30, 40, 2]) - int(plain[30, 40, 2]) > 30
    with pytest.raises(chromaroute.OptionError, match="hints is '80,0'"):
        pipeline.colorize_array(gray, hints=[chromaroute.Hint(x=80, y=0, color="#3050b0")])
