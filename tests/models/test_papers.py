"""The networks of the papers have the published shapes and parameter counts, and each loss reaches the stated parts."""

import pytest
import torch
from torch import nn

from models.colorizers import COLORIZERS, RegressionColorizer
from models.colorizers.hypercolumn import Hypercolumn
from models.colorizers.iizuka import ClassificationBranch, Iizuka, Layer
from models.colorizers.pix2pix import Pix2Pix
from models.colorizers.vgg_decoder import VggDecoder
from models.colorizers.zhang import Zhang
from models.lab import lab_to_srgb, rgb_to_luma, srgb_to_lab, srgb_to_uv, yuv_to_srgb
from models.vgg import VggTrunk


def shapes(network: nn.Module, kinds: tuple[type[nn.Module], ...], *inputs: object) -> list[tuple[int, ...]]:
    """The output shapes of the layers of some kinds, in the order in which they are called."""
    found: list[tuple[int, ...]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    with torch.inference_mode():
        network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    return found


def test_vgg_decoder_has_shapes_of_table_2_of_paper_001() -> None:
    decoder = VggDecoder(VggTrunk("vgg16").eval())
    assert shapes(decoder, (nn.Conv2d, nn.Upsample), torch.rand(1, 1, 224, 224) * 100) == [
        (256, 7, 7), (128, 7, 7), (128, 14, 14), (64, 14, 14), (64, 28, 28), (32, 28, 28),
        (32, 56, 56), (16, 56, 56), (16, 112, 112), (2, 112, 112), (2, 224, 224),
    ]  # fmt: skip
    assert sum(p.numel() for p in decoder.parameters()) == pytest.approx(1.5e6, rel=0.05)  # section 4.1: "approximately 1.5M"


def test_variants_of_paper_001_differ_only_in_regularization() -> None:
    trunk = VggTrunk("compact")
    kinds = {name: [type(layer) for layer in VggDecoder(trunk, name).layers] for name in ("plain", "batch_norm", "dropout")}  # type: ignore[arg-type]
    assert [kind for kind in kinds["batch_norm"] if kind is not nn.BatchNorm2d] == kinds["plain"]
    assert kinds["batch_norm"].count(nn.BatchNorm2d) == 6
    assert [kind for kind in kinds["dropout"] if kind is not nn.Dropout] == kinds["plain"]
    assert kinds["plain"].index(nn.Tanh) == len(kinds["plain"]) - 2
    with pytest.raises(ValueError, match="give one of plain, batch_norm, dropout"):
        VggDecoder(trunk, "weights")  # type: ignore[arg-type]


def test_iizuka_network_has_shapes_of_table_1() -> None:
    network = Iizuka(size=128)
    L = torch.rand(1, 1, 128, 128) * 100
    found = shapes(network, (nn.Conv2d, nn.Linear), L)
    low = [(64, 64, 64), (128, 64, 64), (128, 32, 32), (256, 32, 32), (256, 16, 16), (512, 16, 16)]
    mid = [(512, 16, 16), (256, 16, 16)]
    whole = [(512, 8, 8), (512, 8, 8), (512, 4, 4), (512, 4, 4), (1024,), (512,), (256,)]
    color = [(256, 16, 16), (128, 16, 16), (64, 32, 32), (64, 32, 32), (32, 64, 64), (2, 64, 64)]
    assert found == [*low, *mid, *whole, *color]
    with torch.inference_mode():
        predicted = network.predict(L)
    assert 0 <= float(predicted.min()) <= float(predicted.max()) <= 1
    assert not [name for name, _ in Iizuka(fused=False).named_modules() if name.startswith(("whole", "fusion"))]


def test_classification_loss_of_paper_000_reaches_parts_named_by_paper() -> None:
    network, classifier = Iizuka(size=64), ClassificationBranch(5, "basic")
    _, features = network.predict_with_features(torch.rand(3, 1, 64, 64) * 100)
    assert features is not None
    nn.functional.cross_entropy(classifier(features), torch.tensor([0, 1, 2])).backward()
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {"low", "whole"}
    assert all(p.grad is None for p in network.whole.last.parameters())  # type: ignore[union-attr]
    assert all(p.grad is not None for p in classifier.parameters())


def test_builds_of_paper_000_differ_in_dropout_and_shortcuts() -> None:
    def count(build: str, kind: type[nn.Module]) -> int:
        return sum(isinstance(module, kind) for module in Iizuka(64, build).modules())  # type: ignore[arg-type]

    assert count("basic", nn.Dropout2d) == 0
    assert count("dropout", nn.Dropout2d) == count("residual", nn.Dropout2d) == 6
    shortcuts = {
        build: sum(m.shortcut for m in Iizuka(64, build).modules() if isinstance(m, Layer))
        for build in ("basic", "dropout", "residual")
    }  # type: ignore[arg-type]
    assert shortcuts == {"basic": 0, "dropout": 0, "residual": 4}
    with pytest.raises(ValueError, match="build is 'deep'"):
        Iizuka(64, "deep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size is 100: give a multiple of 32"):
        Iizuka(100)


def test_iizuka_network_accepts_pictures_of_any_size() -> None:
    torch.manual_seed(0)
    network = Iizuka(size=64).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 96, 160) * 100).shape == (1, 2, 48, 80)


def test_zhang_network_has_layers_of_released_network() -> None:
    network = Zhang()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [
        64, 64, 128, 128, 256, 256, 256, *[512] * 12, 256, 256, 256, 260,
    ]  # fmt: skip
    assert [c.dilation[0] for c in convolutions].count(2) == 6
    assert sum(c.stride[0] == 2 for c in convolutions) == 3
    assert shapes(Zhang(width=4), (nn.Conv2d,), torch.rand(1, 1, 32, 64) * 100)[-1] == (260, 8, 16)


def test_lower_temperature_gives_more_vivid_colors() -> None:
    torch.manual_seed(0)
    network = Zhang(width=4).eval()
    L = torch.rand(1, 1, 32, 32) * 100
    with torch.inference_mode():
        network.last.weight.mul_(30)
        chroma = []
        for temperature in (1.0, 0.89, 0.38, 0.1):
            network.temperature = temperature
            chroma.append(float(network(L).norm(dim=1).mean()))
    assert chroma == sorted(chroma)


def test_pix2pix_generator_has_layers_of_paper() -> None:
    generator = Pix2Pix()
    downs = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
    ups = [m for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [c.out_channels for c in downs] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [c.out_channels for c in ups] == [512, 512, 512, 512, 256, 128, 64, 2]
    assert {(c.kernel_size, c.stride) for c in (*downs, *ups)} == {((4, 4), (2, 2))}
    assert shapes(Pix2Pix(width=8), (nn.Conv2d,), torch.rand(1, 1, 256, 256) * 100)[-1] == (64, 1, 1)


def test_hypercolumn_of_paper_004_has_963_channels_and_predicts_yuv() -> None:
    network = Hypercolumn(VggTrunk("vgg16").eval())
    assert network.norm.num_features == 963
    rgb = torch.rand(2, 3, 8, 8)
    assert torch.allclose(yuv_to_srgb(rgb_to_luma(rgb), srgb_to_uv(rgb)), rgb, atol=1e-5)
    lab = srgb_to_lab(rgb)
    scaled = network.encode(lab[:, 1:], lab[:, :1])
    assert 0 <= float(scaled.min()) <= float(scaled.max()) <= 1
    assert torch.allclose(lab_to_srgb(lab), rgb, atol=1e-3)


@pytest.mark.parametrize("family", [name for name, kind in COLORIZERS.items() if issubclass(kind, RegressionColorizer)])
def test_encode_and_decode_of_every_family_are_inverse(family: str) -> None:
    kind = COLORIZERS[family]
    taps = (VggTrunk(),) if family in ("vgg_decoder", "hypercolumn") else ()
    arguments = {"zhang": {"width": 4, "output": "ab"}, "pix2pix": {"width": 4, "depth": 5}, "iizuka": {"size": 32}}.get(family, {})
    network = kind(*taps, **arguments)
    assert isinstance(network, RegressionColorizer)
    gray = torch.full((1, 3, 8, 8), 0.5) + torch.tensor([0.06, -0.02, -0.05]).view(1, 3, 1, 1)
    L = torch.full((1, 1, 8, 8), 53.4)
    ab = srgb_to_lab(gray)[:, 1:]
    assert torch.allclose(network.decode(network.encode(ab, L), L), ab, atol=1.0)
