import dataclasses
import io
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from models.bundle import Bundle
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.strided_cnn import StridedCnn
from models.ensemble import Ensemble
from models.errors import OptionError
from models.imaging import decode
from models.manifest import ExpertCard
from models.options import Options
from models.pipeline import colorize
from models.runtime import Runtime, TorchPrecision
from models.torch_networks import TorchEnsemble
from training.metrics.color import ciede2000

Encode = Callable[..., bytes]


def colorized_image(content: bytes, ensemble: Ensemble, **options: object) -> Image.Image:
    image = Image.open(io.BytesIO(colorize(content, ensemble, Options(**options))[0]))  # type: ignore[arg-type]
    image.load()
    return image


@pytest.mark.parametrize("name", ["person", "cat", "food", "flower", "city"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P", "RGBA", "1"])
def test_size_and_luma_are_preserved(
    name: str, mode: str, photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    image = photographs[name].quantize(64) if mode == "P" else photographs[name].convert(mode)
    colorized = colorized_image(encoded(image, "TIFF" if mode == "CMYK" else "PNG"), ensemble, format="png")
    expected = image.convert("RGB").convert("L") if mode == "P" else image.convert("L")
    assert colorized.size == image.size
    assert np.abs(np.array(colorized.convert("L")).astype(int) - np.array(expected)).max() <= 1


@given(rgb=arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_size_and_luma_are_preserved_for_any_pixels(rgb: np.ndarray, ensemble: Ensemble, encoded: Encode) -> None:
    image = Image.fromarray(rgb)
    colorized = colorized_image(encoded(image), ensemble, saturation=2.0, category="flower")
    assert colorized.size == image.size
    assert np.abs(np.array(colorized.convert("L")).astype(int) - np.array(image.convert("L"))).max() <= 1


def test_color_picture_and_gray_copy_give_identical_bytes(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    for picture in photographs.values():
        first = colorize(encoded(picture), ensemble)[0]
        assert first == colorize(encoded(picture.convert("L")), ensemble)[0]


def test_output_is_in_color(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    for name, picture in photographs.items():
        pixels = np.array(colorized_image(encoded(picture.convert("L")), ensemble)).astype(int)
        assert (pixels.max(axis=2) - pixels.min(axis=2)).mean() > 4, name


def test_jpeg_to_jpeg_preserves_luma_plane(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    gray = photographs["cat"].convert("L")
    content = colorize(encoded(gray, "JPEG", quality=90), ensemble, Options(quality=90))[0]
    with Image.open(io.BytesIO(content)) as colorized, Image.open(io.BytesIO(encoded(gray, "JPEG", quality=90))) as plain:
        colorized.draft("L", colorized.size)
        assert colorized.format == "JPEG"
        # the only difference is one more decoding and encoding
        assert np.abs(np.array(colorized).astype(int) - np.array(plain)).mean() < 0.5


def test_alpha_channel_is_preserved(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    translucent = photographs["cat"].convert("RGBA")
    translucent.putalpha(Image.linear_gradient("L").resize(translucent.size))
    for format, tolerance in (("png", 0), ("webp", 0), ("tiff", 0), ("avif", 4)):
        colorized = colorized_image(encoded(translucent), ensemble, format=format)
        assert colorized.mode == "RGBA"
        difference = np.array(colorized.getchannel("A")).astype(int) - np.array(translucent.getchannel("A"))
        assert np.abs(difference).max() <= tolerance, format


def test_every_format_contains_provenance_metadata(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble
) -> None:
    for format in ("jpeg", "png", "webp", "tiff", "avif"):
        content, _, decision = colorize(encoded(photographs["food"]), ensemble, Options(format=format))
        with Image.open(io.BytesIO(content)) as colorized:
            xmp = colorized.info["xmp"]
        xmp = xmp.decode() if isinstance(xmp, bytes) else xmp
        assert "compositeWithTrainedAlgorithmicMedia" in xmp
        assert decision.bundle in xmp
        assert f'Category="{decision.category}"' in xmp


def test_saturation_scales_colorfulness(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    content = encoded(photographs["flower"])
    spread = []
    for saturation in (0.0, 1.0, 1.6):
        pixels = np.array(colorized_image(content, ensemble, saturation=saturation)).astype(int)
        spread.append((pixels.max(axis=2) - pixels.min(axis=2)).mean())
    assert spread[0] <= 1
    assert spread[0] < spread[1] < spread[2]


def test_prediction_does_not_depend_on_scan_size(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    small = photographs["person"]
    big = small.resize((small.width * 4, small.height * 4), Image.Resampling.BICUBIC)
    predictions = [ensemble.predict(decode(encoded(image.convert("L")))) for image in (small, big)]
    assert predictions[0][1].working_size == predictions[1][1].working_size
    assert predictions[0][1].category == predictions[1][1].category
    assert np.abs(predictions[0][0] - predictions[1][0]).mean() < 3


def test_decision_contains_reason(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    picture = decode(encoded(photographs["flower"]))
    auto = ensemble.route(picture)
    assert len(auto.top) == 5
    assert auto.top[0].probability >= auto.top[1].probability
    assert auto.bundle == ensemble.bundle.label
    requested = ensemble.predict(picture, Options(category="food"))[1]
    assert (requested.category, requested.reason, requested.fell_back) == ("food", "requested", False)
    unsure = ensemble.route(picture, Options(threshold=1.0))
    assert unsure.fell_back
    assert unsure.reason in ("below_threshold", "unmapped")
    assert unsure.category == "general"
    assert set(requested.timings_ms) == {"route", "predict"}


def test_soft_routing_is_weighted_mean_of_experts(photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble) -> None:
    picture = decode(encoded(photographs["city"]))
    soft, decision = ensemble.predict(picture, Options(routing="soft"))
    assert sum(share.weight for share in decision.experts) == pytest.approx(1.0)
    by_expert = {expert: category for category, expert in reversed(ensemble.bundle.manifest.categories.items())}
    expected = sum(
        share.weight * ensemble.predict(picture, Options(category=by_expert[share.name]))[0] for share in decision.experts
    )
    assert np.allclose(soft, expected, atol=1e-3)


def test_trunk_runs_once_for_routing_and_prediction(
    photographs: dict[str, Image.Image], encoded: Encode, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    for trunk in ensemble.bundle.trunks.values():
        forward = trunk.forward
        monkeypatch.setattr(trunk, "forward", lambda L, forward=forward: passes.append(1) or forward(L))
    ensemble.predict(decode(encoded(photographs["city"])), Options(routing="soft"))
    assert len(passes) == 1


def test_bundle_may_mix_families(photographs: dict[str, Image.Image], encoded: Encode, bundle: Bundle) -> None:
    torch.manual_seed(0)
    card = {"file": "x.safetensors", "sha256": "0" * 64, "bytes": 1, "working_size": 64}
    experts = {
        **bundle.experts,
        "strided": StridedCnn().eval(),
        "adversarial": Pix2Pix(width=8, depth=5).eval(),
    }
    cards = {
        **bundle.manifest.experts,
        "strided": ExpertCard(family="strided_cnn", category="cat", **card),
        "adversarial": ExpertCard(family="pix2pix", category="food", **card),
    }
    categories = {**bundle.manifest.categories, "cat": "strided", "food": "adversarial"}
    manifest = bundle.manifest.model_copy(update={"experts": cards, "categories": categories})
    mixed = TorchEnsemble(dataclasses.replace(bundle, manifest=manifest, experts=experts))
    for category, expert in (("cat", "strided"), ("food", "adversarial"), ("general", "general")):
        content, _, decision = colorize(encoded(photographs["cat"]), mixed, Options(category=category))
        assert [share.name for share in decision.experts] == [expert]
        assert Image.open(io.BytesIO(content)).size == photographs["cat"].size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 0}, "quality is 0.*1 to 100"),
        ({"saturation": 2.5}, "saturation is 2.5.*0 to 2"),
        ({"threshold": -0.1}, "threshold is -0.1.*0 to 1"),
        ({"format": "heic"}, "format is 'heic'.*one of auto, jpeg, png, webp, tiff, avif"),
        ({"page": 0}, "page is 0.*a whole number from 1 to 1000"),
    ],
)
def test_invalid_option_is_rejected_with_valid_values(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**options)  # type: ignore[arg-type]


def test_runtime_rejects_unknown_device_and_precision() -> None:
    with pytest.raises(OptionError, match="device is 'abacus'"):
        Runtime(device="abacus")
    with pytest.raises(OptionError, match="precision is 'int3'.*float32, bfloat16"):
        Runtime(precision="int3")  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", [name for name in get_args(TorchPrecision) if name != "float32"])
@pytest.mark.parametrize("name", ["person", "cat", "food", "flower", "city"])
def test_every_precision_gives_nearly_same_colors(
    name: str, precision: TorchPrecision, photographs: dict[str, Image.Image], encoded: Encode, bundle: Bundle, ensemble: Ensemble
) -> None:
    content = encoded(photographs[name].convert("L"))
    exact = colorized_image(content, ensemble, format="png")
    other = colorized_image(content, TorchEnsemble(bundle, Runtime(precision=precision)), format="png")
    assert np.array(exact).std(axis=2).mean() > 3  # both are in color
    assert ciede2000(np.array(other), np.array(exact)) < 1  # a barely visible difference
