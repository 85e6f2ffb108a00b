import pytest
import torch

from models.vgg import TRUNKS, VggTrunk
from training.networks.torchvision_compat import vgg


@pytest.mark.parametrize("network", TRUNKS)
def test_taps_have_documented_strides_and_channels(network: str) -> None:
    trunk = VggTrunk(network).eval()
    with torch.inference_mode():
        taps = trunk(torch.rand(1, 1, 32, 64) * 100)
    assert {stride: tuple(tap.shape) for stride, tap in taps.items()} == {
        stride: (1, channels, 32 // stride, 64 // stride) for stride, channels in trunk.channels.items()
    }
    assert sorted(taps) == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(("network", "build"), [("vgg16", vgg.vgg16), ("vgg19", vgg.vgg19)])
def test_torchvision_weights_fit_trunk(network: str, build: type) -> None:
    with torch.device("meta"):
        expected = {name: tensor for name, tensor in build(init_weights=False).state_dict().items() if name.startswith("features.")}
    actual = VggTrunk(network).state_dict()
    assert {name: tensor.shape for name, tensor in actual.items()} == {name: tensor.shape for name, tensor in expected.items()}


def test_unknown_trunk_is_rejected_with_known_trunks() -> None:
    with pytest.raises(ValueError, match="'vgg99'.*compact, deep, vgg16, vgg19"):
        VggTrunk("vgg99")
