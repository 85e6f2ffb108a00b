from pathlib import Path

import pytest
import torch

from models.ab_bins import AbBins
from models.colorizers import COLORIZERS, Colorizer, TapColorizer
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.strided_cnn import StridedCnn
from models.colorizers.vgg_expert import SelfAttention, VggExpert
from models.vgg import VggTrunk

SMALL: dict[str, dict[str, object]] = {"pix2pix": {"width": 8, "depth": 5}}


def build(family: str) -> Colorizer:
    torch.manual_seed(0)
    kind = COLORIZERS[family]
    return kind(*((VggTrunk(),) if issubclass(kind, TapColorizer) else ()), **SMALL.get(family, {}))


@pytest.mark.parametrize("family", COLORIZERS)
def test_every_family_predicts_ab_from_lightness(family: str) -> None:
    colorizer = build(family).eval()
    side = max(64, colorizer.stride)
    with torch.inference_mode():
        ab = colorizer(torch.rand(2, 1, side, 2 * side) * 100)
    n, channels, height, width = ab.shape
    assert (n, channels) == (2, 2)
    assert side % height == 0
    assert width == 2 * height
    assert ab.isfinite().all()
    assert ab.abs().max() <= 128


@pytest.mark.slow
@pytest.mark.parametrize("family", COLORIZERS)
def test_every_family_can_be_trained(family: str) -> None:
    colorizer = build(family).train()
    side = max(64, colorizer.stride)
    L, ab = torch.rand(4, 1, side, side) * 100, torch.tensor([20.0, -30.0]).view(1, 2, 1, 1)
    optimizer = torch.optim.Adam(colorizer.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = (colorizer(L) - ab).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("family", COLORIZERS)
def test_every_family_is_deterministic_in_eval_mode(family: str) -> None:
    colorizer = build(family).eval()
    L = torch.rand(1, 1, max(64, colorizer.stride), max(64, colorizer.stride)) * 100
    with torch.inference_mode():
        assert torch.equal(colorizer(L), colorizer(L))


@pytest.mark.parametrize("family", COLORIZERS)
def test_own_state_excludes_shared_trunk(family: str) -> None:
    assert not [name for name in build(family).own_state() if "trunk" in name or name.startswith("features")]


def test_strided_cnn_has_parameter_count_of_paper() -> None:
    assert sum(parameter.numel() for parameter in StridedCnn().parameters()) == 3_892_194


def test_tap_colorizer_predicts_same_from_taps_and_lightness() -> None:
    trunk = VggTrunk().eval()
    expert = VggExpert(trunk).eval()
    L = torch.rand(1, 1, 64, 96) * 100
    with torch.inference_mode():
        assert torch.equal(expert(L), expert.forward_from_taps(trunk(L), L))


def test_saturation_scales_prediction_of_expert() -> None:
    trunk = VggTrunk().eval()
    plain, saturated = VggExpert(trunk).eval(), VggExpert(trunk, saturation=1.5).eval()
    saturated.load_state_dict(plain.state_dict())
    L = torch.rand(1, 1, 64, 64) * 100
    with torch.inference_mode():
        assert torch.allclose(saturated(L), 1.5 * plain(L), atol=1e-4)
    assert isinstance(plain.bins, AbBins)


def test_attention_of_expert_adds_nothing_before_training_and_reads_distant_positions_after() -> None:
    torch.manual_seed(0)
    trunk = VggTrunk().eval()
    plain, attending = VggExpert(trunk).eval(), VggExpert(trunk, heads=4).eval()
    assert isinstance(attending.context, SelfAttention)
    attending.load_state_dict(plain.state_dict(), strict=False)
    x = torch.rand(1, 96, 4, 64)
    with torch.inference_mode():
        assert torch.equal(attending.context(x), x)
        torch.nn.init.normal_(attending.context.out.weight)
        other = x.clone()
        other[..., -1] += 1  # at the right end, beyond what a convolution at the left end reads
        assert not torch.allclose(attending.context(x)[..., 0], attending.context(other)[..., 0])


def test_attention_refuses_a_number_of_heads_that_does_not_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="96 channels cannot be split into 5 heads: give a number that divides 96"):
        VggExpert(VggTrunk(), heads=5)


def test_pix2pix_noise_is_dropout_and_same_for_every_picture() -> None:
    torch.manual_seed(0)
    generator = Pix2Pix(width=8, depth=5).eval()
    L = torch.rand(2, 1, 64, 64) * 100
    with torch.inference_mode():
        with_dropout = generator(L)
        assert torch.allclose(with_dropout[1:], generator(L[1:]), atol=1e-4)
        generator.noise = False
        assert not torch.allclose(with_dropout, generator(L), atol=1)
    with pytest.raises(ValueError, match="depth is 9: give 4 to 8"):
        Pix2Pix(depth=9)


def test_registry_is_one_literal_dict() -> None:
    source = (Path(__file__).parents[2] / "models/colorizers/__init__.py").read_text()
    for family in COLORIZERS:
        assert f'"{family}": ' in source
