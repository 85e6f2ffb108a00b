"""Hints: the chosen colors are at their points, spread over what looks alike and lies near, and leave luma as it is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle_header import EVERYDAY
from models.engine_options import EngineOptions
from models.ensemble import Ensemble
from models.errors import OptionError
from models.hints import spread_hints
from models.imaging import Picture
from models.lab import srgb_to_lab
from models.loading import load_ensemble
from models.options import MAX_HINTS, Hint, Options, RouteOptions
from models.pipeline import colorize
from models.published.importing import NewExpert, add_expert, safetensors_content
from models.published.networks import converted
from tests.models.published import published_layouts

NAVY = "#1f3a8f"


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def colorized(content: bytes, ensemble: Ensemble, *hints: Hint) -> np.ndarray:
    output, _, decision = colorize(content, ensemble, Options(hints=hints))
    assert decision.hints == len(hints)
    return np.asarray(Image.open(io.BytesIO(output)))


def chroma_of(rgb: np.ndarray, x: float, y: float) -> np.ndarray:
    return srgb_to_lab(rgb[int(y), int(x)].astype(np.float32)[None, :, None, None] / 255)[0, 1:, 0, 0]


def chroma_of_color(color: str) -> np.ndarray:
    rgb = np.array(tuple(bytes.fromhex(color[1:])), np.float32) / 255
    return srgb_to_lab(rgb[None, :, None, None])[0, 1:, 0, 0]


@pytest.mark.parametrize("name", ["cat", "person", "city"])
def test_points_get_their_colors_and_luma_stays(name: str, photographs: dict[str, Image.Image], ensemble: Ensemble) -> None:
    picture = photographs[name].convert("L")
    levels = np.asarray(picture)
    places = np.argwhere((levels > 90) & (levels < 150))[[100, -100]]  # where the colors are within the gamut
    hints = [Hint(x=x, y=y, color=color) for (y, x), color in zip(places.tolist(), ("#6070a0", "#808080"), strict=True)]
    plain, hinted = colorized(png(picture), ensemble), colorized(png(picture), ensemble, *hints)
    for hint in hints:
        wanted = chroma_of_color(hint.color)
        assert np.linalg.norm(chroma_of(hinted, hint.x, hint.y) - wanted) < 6
    assert np.linalg.norm(chroma_of(plain, hints[0].x, hints[0].y) - chroma_of_color(hints[0].color)) > 15
    assert np.abs(np.asarray(Image.fromarray(hinted).convert("L")).astype(int) - levels).max() <= 1


def test_hint_spreads_over_its_area_and_not_over_an_edge() -> None:
    luma = np.full((200, 300), 90, np.uint8)
    luma[:, 150:] = 200
    ab = np.zeros((1, 2, 20, 30), np.float32)
    spread = spread_hints(luma, ab, [Hint(x=120, y=100, color=NAVY)])[0]
    assert spread.shape == (2, 171, 256)
    change = np.linalg.norm(spread, axis=0) / np.linalg.norm(chroma_of_color(NAVY))
    assert change[85, 102] > 0.95  # the point
    assert change[85, 85] > 0.9  # beside it
    assert change[85, 135] < 0.1  # as near, beyond the edge
    assert change[85, 102] > change[40, 60] > change[5, 5]


def test_radius_and_strength_limit_a_hint() -> None:
    luma, ab = np.full((256, 256), 120, np.uint8), np.zeros((1, 2, 32, 32), np.float32)
    full = spread_hints(luma, ab, [Hint(x=128, y=128, color=NAVY)])
    small = spread_hints(luma, ab, [Hint(x=128, y=128, color=NAVY, radius=10)])
    half = spread_hints(luma, ab, [Hint(x=128, y=128, color=NAVY, strength=0.5)])
    np.testing.assert_allclose(small[..., 128, 128], full[..., 128, 128], rtol=0.01)
    assert np.abs(small[..., 128, 180]).max() < 0.01 < np.abs(full[..., 128, 180]).max()
    np.testing.assert_allclose(half, full / 2, atol=1e-4)
    assert not spread_hints(luma, ab, [Hint(x=128, y=128, color=NAVY, strength=0)]).any()


def test_equal_and_very_many_hints_are_possible() -> None:
    luma, ab = np.full((300, 200), 120, np.uint8), np.zeros((1, 2, 32, 32), np.float32)
    twice = spread_hints(luma, ab, [Hint(x=5, y=5, color=NAVY)] * 2)
    assert np.isfinite(twice).all()
    rng = np.random.default_rng(0)
    many = [Hint(x=float(x), y=float(y), color=NAVY) for x, y in rng.uniform(0, (200, 300), (MAX_HINTS, 2))]
    spread = spread_hints(luma, ab, many)
    assert np.abs(spread - chroma_of_color(NAVY)[None, :, None, None]).max() < 6


def test_colors_between_hints_are_never_beyond_them() -> None:
    rng = np.random.default_rng(4)
    luma, ab = rng.integers(0, 255, (200, 200)).astype(np.uint8), np.zeros((1, 2, 32, 32), np.float32)
    for _ in range(20):
        hints = [
            Hint(x=float(x), y=float(y), color=f"#{bytes(color.tolist()).hex()}", radius=float(radius) if radius > 20 else None)
            for (x, y), color, radius in zip(
                rng.uniform(0, 200, (30, 2)), rng.integers(0, 256, (30, 3)).astype(np.uint8), rng.uniform(1, 200, 30), strict=True
            )
        ]
        wanted = np.array([chroma_of_color(hint.color) for hint in hints])
        spread = spread_hints(luma, ab, hints)[0].reshape(2, -1)
        assert np.isfinite(spread).all()
        assert (spread.min(axis=1) >= np.minimum(wanted.min(axis=0), 0) - 1e-3).all()
        assert (spread.max(axis=1) <= np.maximum(wanted.max(axis=0), 0) + 1e-3).all()


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ([{"x": 1, "y": 1, "color": "navy"}], r"hints\[0\]\.color is 'navy'"),
        ([{"x": -1, "y": 1, "color": NAVY}], r"hints\[0\]\.x is"),
        ([{"x": "nan", "y": 1, "color": NAVY}], r"hints\[0\]\.x is"),
        ([{"x": 1, "y": 1, "color": NAVY, "radius": 0}], r"hints\[0\]\.radius is"),
        ([{"x": 1, "y": 1, "color": NAVY, "strength": 2}], r"hints\[0\]\.strength is"),
        ([{"x": 1, "y": 1, "color": NAVY, "size": 2}], r"hints\[0\]\.size is"),
        ([{"x": 1, "y": 1}], r"hints\[0\]\.color is"),
        ([{"x": 1, "y": 1, "color": NAVY}] * (MAX_HINTS + 1), "a JSON list of at most 1000 objects"),
        ("[{", "hints is .*a JSON list"),
        ("7", "hints is .*a JSON list"),
    ],
)
def test_hints_that_are_not_valid_are_refused(hints: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(hints=hints)  # type: ignore[arg-type]


def test_hint_outside_of_the_picture_is_refused(photographs: dict[str, Image.Image], ensemble: Ensemble) -> None:
    picture = photographs["cat"]
    for x, y in ((picture.width, 0), (0, picture.height)):
        with pytest.raises(OptionError, match=f"x from 0 to {picture.width - 1} and y from 0 to {picture.height - 1}"):
            colorized(png(picture), ensemble, Hint(x=x, y=y, color=NAVY))


def test_hints_of_several_pages_are_refused_without_a_page(photographs: dict[str, Image.Image], ensemble: Ensemble) -> None:
    buffer = io.BytesIO()
    pages = [photographs[name].convert("L") for name in ("cat", "food")]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    hints = (Hint(x=5, y=5, color=NAVY),)
    with pytest.raises(OptionError, match="hints are for one page, and the output has 2"):
        colorize(buffer.getvalue(), ensemble, Options(hints=hints))
    assert colorize(buffer.getvalue(), ensemble, Options(hints=hints, page=2))[2].hints == 1


@pytest.mark.slow
def test_network_that_reads_hints_gets_them_from_both_engines(tmp_path: Path, photographs: dict[str, Image.Image]) -> None:
    arguments, tensors = converted("siggraph17", published_layouts.siggraph17())
    expert = NewExpert(
        "siggraph17", "siggraph17", arguments, safetensors_content(tensors), ".safetensors", 64, "square", "BSD-2-Clause", "a test"
    )  # fmt: skip
    add_expert(expert, EVERYDAY, tmp_path / "bundle", None, keep_experts=True)
    picture = Picture(np.asarray(photographs["cat"].convert("L")), None, "png")
    hints, route = [Hint(x=50, y=60, color=NAVY), Hint(x=150, y=20, color="#a04020")], RouteOptions(category="general")
    found = []
    for engine in ("torch", "openvino"):
        options = EngineOptions(engine, precision="float32", cache_dir=tmp_path / "cache")  # type: ignore[arg-type]
        ensemble = load_ensemble(tmp_path / "bundle", options)
        plain, decision = ensemble.predict(picture, route)
        assert [share.name for share in decision.experts] == ["siggraph17"]
        assert plain.shape == (1, 2, 64, 64)
        found.append((plain, ensemble.predict(picture, route, hints)[0]))
    for torch_ab, openvino_ab in zip(*found, strict=True):
        np.testing.assert_allclose(torch_ab, openvino_ab, atol=1e-2)
