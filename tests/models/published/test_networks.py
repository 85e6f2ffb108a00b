"""Published networks: files of their layout become networks of ours that compute the same."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.colorizers import COLORIZERS, Colorizer, HintedColorizer
from models.errors import CheckpointError
from models.published.networks import NETWORKS, converted
from models.published.tensors import folded, read_tensors
from tests.models.published import published_layouts as layouts

LAYOUTS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "eccv16": layouts.eccv16,
    "siggraph17": layouts.siggraph17,
    "ddcolor": layouts.ddcolor,
}
SIZES = [(32, 32), (64, 96)]


def imported(name: str, tensors: dict[str, Tensor]) -> Colorizer:
    arguments, own = converted(name, tensors)
    network = COLORIZERS[NETWORKS[name].family](**arguments)
    network.load_state_dict(own)
    return network.eval()


def lightness(size: tuple[int, int]) -> Tensor:
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(5)) * 100


@pytest.mark.parametrize("size", SIZES)
def test_eccv16_has_the_colors_of_the_published_network(size: tuple[int, int]) -> None:
    tensors, L = layouts.eccv16(), lightness(size)
    with torch.inference_mode():
        actual, expected = imported("eccv16", tensors)(L), layouts.eccv16_ab(tensors, L)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_siggraph17_has_the_colors_of_the_published_network_without_and_with_hints(size: tuple[int, int]) -> None:
    tensors, L = layouts.siggraph17(), lightness(size)
    ab, mask = torch.zeros(1, 2, *size), torch.zeros(1, 1, *size)
    network = imported("siggraph17", tensors)
    assert isinstance(network, HintedColorizer)
    with torch.inference_mode():
        automatic = network(L)
        torch.testing.assert_close(automatic, layouts.siggraph17_ab(tensors, L, ab, mask), rtol=0, atol=1e-4)
        ab[:, :, 8, 12], mask[:, :, 8, 12] = torch.tensor([40.0, -50.0]), 1
        hinted = network.decode(network.predict_with_hints(L, ab, mask), L)
        torch.testing.assert_close(hinted, layouts.siggraph17_ab(tensors, L, ab, mask), rtol=0, atol=1e-4)
    assert float((hinted - automatic).abs().max()) > 0.1


def test_ddcolor_is_imported_with_every_tensor_and_any_sides() -> None:
    network = imported("ddcolor", layouts.ddcolor())
    with torch.inference_mode():
        for size in ((32, 32), (64, 96)):
            ab = network(lightness(size))
            assert ab.shape == (1, 2, *size)
            assert torch.isfinite(ab).all()
            assert float(ab.std()) > 0.01
            assert float(ab.abs().max()) <= 110


def test_spectral_norm_is_folded_into_its_weight() -> None:
    layer = torch.nn.utils.spectral_norm(torch.nn.Conv2d(5, 7, 3))
    x = torch.rand(2, 5, 8, 8)
    for _ in range(3):
        layer(x)
    layer.eval()
    plain = torch.nn.Conv2d(5, 7, 3)
    tensors = folded({f"layer.{name}": tensor for name, tensor in layer.state_dict().items()})
    plain.load_state_dict({name.removeprefix("layer."): tensor for name, tensor in tensors.items()})
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_file_of_another_network_is_refused(name: str) -> None:
    other = LAYOUTS["siggraph17" if name != "siggraph17" else "eccv16"]()
    with pytest.raises(CheckpointError, match=f"which {name} has not: it is of another network"):
        converted(name, other)
    tensors = LAYOUTS[name]()
    del tensors[next(name for name in tensors if name.endswith(".bias"))]
    with pytest.raises(CheckpointError, match=f"the file is not that of {name}"):
        converted(name, tensors)


@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: {"params": t}, lambda t: {"epoch": 3, "state_dict": t}, lambda t: {"params_ema": t}]
)
def test_files_are_read_whatever_wraps_their_tensors(wrap: Callable[[object], object], tmp_path: Path) -> None:
    tensors = {"module.a.weight": torch.ones(2, dtype=torch.float16), "module.count": torch.tensor(3)}
    torch.save(wrap(tensors), tmp_path / "file.pth")
    found = read_tensors(tmp_path / "file.pth")
    assert found.keys() == {"a.weight", "count"}
    assert found["a.weight"].dtype == torch.float32
    save_file(tensors, tmp_path / "file.safetensors")
    assert read_tensors(tmp_path / "file.safetensors").keys() == found.keys()


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code must not run",)


def test_code_in_a_file_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"weight": Malicious()}))
    with pytest.raises(CheckpointError, match="without executing its code"):
        read_tensors(path)
    torch.save({"weight": Malicious()}, path)
    with pytest.raises(CheckpointError, match="without executing its code"):
        read_tensors(path)
    torch.save({"weight": "text"}, path)
    with pytest.raises(CheckpointError, match="no named tensors"):
        read_tensors(path)
    assert capsys.readouterr().out == ""
