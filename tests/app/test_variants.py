"""`/v1/colorize/variants`: a picture as its most probable categories, in a small size."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pyvips
from fastapi.testclient import TestClient
from PIL import Image

from models.lab import Float32Array
from models.openvino_networks import Features, OpenVinoNetworks
from tests.app.helpers import post_picture

Encode = Callable[..., bytes]
Photographs = dict[str, Image.Image]

PATH = "/v1/colorize/variants"
JSON = {"accept": "application/json"}


def variants_of(client: TestClient, content: bytes, **options: object) -> list[dict[str, Any]]:
    response = post_picture(client, content, PATH, **options)
    assert response.status_code == 200, response.text
    return response.json()["variants"]  # type: ignore[no-any-return]


def opened(variant: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(variant["image"])))
    assert Image.MIME[image.format or ""] == variant["media_type"]
    return image


def experts(variant: dict[str, Any]) -> tuple[str, ...]:
    return tuple(expert["name"] for expert in variant["decision"]["experts"])


def without_timings(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name != "timings_ms"}


def test_variants_are_most_probable_categories_with_distinct_experts(client: TestClient, cat: bytes) -> None:
    variants = variants_of(client, cat)
    decisions = [variant["decision"] for variant in variants]
    assert [decision["category"] for decision in decisions] == [one["category"] for one in decisions[0]["top"][:3]]
    assert [decision["reason"] for decision in decisions] == ["confident", "requested", "requested"]
    assert len({experts(variant) for variant in variants}) == 3
    assert len({np.asarray(opened(variant)).tobytes() for variant in variants}) == 3


@pytest.mark.parametrize(
    "options",
    [{}, {"threshold": 1}, {"routing": "soft"}, {"category": "food"}, {"saturation": 0.3}],
    ids=lambda options: str(options),
)
def test_first_variant_is_what_colorize_returns(
    options: dict[str, object], client: TestClient, photographs: Photographs, encoded: Encode
) -> None:
    content = encoded(photographs["city"].convert("L"), "JPEG")
    first, *others = variants_of(client, content, **options)
    colorized = post_picture(client, content, headers=JSON, **options).json()
    assert without_timings(first["decision"]) == without_timings(colorized["decision"])
    assert np.array_equal(opened(first), opened(colorized))
    assert all(variant["decision"]["reason"] == "requested" for variant in others)
    assert all(len(experts(variant)) == 1 for variant in others)


def test_fallback_is_first_variant_below_threshold(client: TestClient, cat: bytes) -> None:
    first, second, _ = (variant["decision"] for variant in variants_of(client, cat, threshold=1))
    assert (first["category"], first["reason"]) == ("general", "below_threshold")
    assert (second["category"], second["reason"]) == ("cat", "requested")


def test_requested_category_is_first_and_not_repeated(client: TestClient, cat: bytes) -> None:
    auto = [variant["decision"]["category"] for variant in variants_of(client, cat)]
    assert [variant["decision"]["category"] for variant in variants_of(client, cat, category="bus")] == ["bus", *auto[:2]]
    second = [variant["decision"]["category"] for variant in variants_of(client, cat, category=auto[1])]
    assert second == [auto[1], auto[0], auto[2]]


def test_soft_route_is_followed_by_single_experts(client: TestClient, photographs: Photographs, encoded: Encode) -> None:
    blend, *others = variants_of(client, encoded(photographs["city"].convert("L"), "JPEG"), routing="soft")
    assert len(experts(blend)) > 1
    assert [experts(variant) for variant in others] == [(one["category"],) for one in blend["decision"]["top"][:2]]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_count_limits_variants(count: int, client: TestClient, cat: bytes) -> None:
    variants = variants_of(client, cat, count=count)
    assert len(variants) == count
    assert len({experts(variant) for variant in variants}) == count


def test_long_side_limits_size_and_small_pictures_are_not_enlarged(
    client: TestClient, photographs: Photographs, encoded: Encode
) -> None:
    large = encoded(photographs["flower"].convert("L").resize((1000, 665)), "JPEG")
    assert {opened(variant).size for variant in variants_of(client, large)} == {(640, 426)}
    assert {opened(variant).size for variant in variants_of(client, large, long_side=100)} == {(100, 66)}
    small = encoded(photographs["flower"].convert("L"), "JPEG")
    assert {opened(variant).size for variant in variants_of(client, small)} == {photographs["flower"].size}
    line = encoded(Image.new("L", (2000, 3), 100))
    assert {opened(variant).size for variant in variants_of(client, line, long_side=64)} == {(64, 1)}


def test_reduced_variant_looks_like_full_output(client: TestClient, photographs: Photographs, encoded: Encode) -> None:
    content = encoded(photographs["flower"].convert("L").resize((800, 532)), "JPEG")
    full = opened(post_picture(client, content, headers=JSON).json()).resize((200, 133), Image.Resampling.BOX)
    small = opened(variants_of(client, content, long_side=200)[0])
    assert np.abs(np.asarray(full, np.int16) - np.asarray(small, np.int16)).mean() < 3


def test_networks_see_picture_once(client: TestClient, cat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    features = OpenVinoNetworks.features

    def counted(self: OpenVinoNetworks, trunk: str, L: Float32Array) -> Features:
        passes.append(trunk)
        return features(self, trunk, L)

    monkeypatch.setattr(OpenVinoNetworks, "features", counted)
    assert len(variants_of(client, cat, count=5)) == 5
    assert len(passes) == 1


def test_picture_is_counted_once_in_metrics(client: TestClient, cat: bytes) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("chromaroute_routes_total{"))

    before = count()
    variants_of(client, cat)
    assert count() == before + 1


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_alpha_is_kept_in_png(deep: bool, client: TestClient, photographs: Photographs) -> None:
    rgba = np.asarray(photographs["cat"].convert("RGBA")).astype(np.uint16)
    rgba[..., 3] = np.linspace(0, 255, rgba.shape[1]).astype(np.uint16)
    content = png16(rgba * 257) if deep else png8(rgba)
    for variant in variants_of(client, content, count=2):
        assert variant["media_type"] == "image/png"
        assert opened(variant).mode == "RGBA"
        assert np.array_equal(np.asarray(opened(variant))[..., 3], rgba[..., 3])
    reduced = opened(variants_of(client, content, count=1, long_side=100)[0])
    assert (reduced.mode, reduced.width) == ("RGBA", 100)


def png8(rgba: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgba.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def png16(rgba: np.ndarray[Any, Any]) -> bytes:
    content: bytes = pyvips.Image.new_from_array(rgba).copy(interpretation="rgb16").pngsave_buffer()
    return content


def test_page_of_tiff_can_be_chosen(client: TestClient, photographs: Photographs, encoded: Encode) -> None:
    first, *others = [photographs[name].convert("L") for name in ("cat", "flower", "food")]
    content = encoded(first, "TIFF", save_all=True, append_images=others)
    for page, size in ((None, first.size), (2, others[0].size), (3, others[1].size)):
        options = {} if page is None else {"page": page}
        variants = variants_of(client, content, **options)
        assert {opened(variant).size for variant in variants} == {size}
        assert {variant["media_type"] for variant in variants} == {"image/jpeg"}
        assert {(one["decision"]["page"], one["decision"]["page_count"]) for one in variants} == {(page or 1, 3)}
        colorized = post_picture(client, content, headers=JSON, page=page or 1).json()["decision"]
        assert without_timings(variants[0]["decision"]) == without_timings(colorized)
    assert post_picture(client, content, PATH, page=4).json()["valid"].startswith("a whole number from 1 to 3")


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({"count": 0}, "a whole number from 1 to 5"),
        ({"count": 6}, "a whole number from 1 to 5"),
        ({"long_side": 63}, "a whole number from 64 to 2048"),
        ({"long_side": 4096}, "a whole number from 64 to 2048"),
        ({"saturation": -1}, "a number from 0 to 2"),
        ({"threshold": 1.1}, "a number from 0 to 1"),
        ({"category": "spaceship"}, "one of auto, animal"),
        ({"page": 2}, "a whole number from 1 to 1"),
        ({"format": "png"}, "one of category, routing, threshold, saturation, page, count, long_side"),
    ],
)
def test_invalid_option_is_422_with_valid_values(options: dict[str, object], valid: str, client: TestClient, cat: bytes) -> None:
    response = post_picture(client, cat, PATH, **options)
    assert response.status_code == 422
    assert response.json()["type"] == "urn:chromaroute:problem:bad-option"
    assert response.json()["option"] in options
    assert response.json()["valid"].startswith(valid)


def test_options_may_be_form_fields(client: TestClient, cat: bytes) -> None:
    response = client.post(PATH, files={"file": ("cat.jpg", cat)}, data={"count": "2", "long_side": "64"})
    assert [opened(variant).width for variant in response.json()["variants"]] == [64, 64]


def test_unreadable_pictures_have_problem_types_of_colorize(client: TestClient, cat: bytes, encoded: Encode) -> None:
    for content in (b"not a picture", cat[: len(cat) // 2], encoded(Image.new("L", (1001, 1000)))):
        response, colorized = post_picture(client, content, PATH), post_picture(client, content)
        assert response.status_code == colorized.status_code
        assert response.json()["type"] == colorized.json()["type"]
    assert client.post(PATH).status_code == 422
