"""Every family, and every expert of the embedded bundle, gives the color that it gave when `goldens.npz` was written.

After a deliberate change, or a new bundle: python -m tests.models.test_goldens
"""

import io
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.color import deltaE_ciede2000
from torch.nn import functional as F

from models.bundle import Bundle, load_bundle
from models.colorizers import COLORIZERS, TapColorizer
from models.engine_options import EngineOptions, Precision
from models.ensemble import Ensemble
from models.imaging import decode
from models.lab import Float32Array
from models.loading import load_ensemble
from models.network_input import network_input
from models.options import RouteOptions
from models.torch_networks import TorchEnsemble
from models.vgg import VggTrunk
from tests.picture_files import Array

GOLDENS = Path(__file__).with_name("goldens.npz")
TOLERANCE = 0.5  # of the mean ΔE00, which nobody sees
SMALL: dict[str, dict[str, object]] = {"pix2pix": {"width": 8, "depth": 5}}


def cat() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def reduced(ab: Float32Array) -> Array:
    """ab `(2,8,12)` of any output."""
    return np.asarray(F.interpolate(torch.from_numpy(ab), (8, 12), mode="area")[0].to(torch.float16))


def family_output(name: str) -> Array:
    """The output of a network with random weights, which are the same each time."""
    torch.manual_seed(0)
    kind = COLORIZERS[name]
    network = kind(*((VggTrunk(),) if issubclass(kind, TapColorizer) else ()), **SMALL.get(name, {})).eval()
    for parameter in network.parameters():  # not by the initialization of torch, which may change
        values = np.random.default_rng(parameter.numel()).standard_normal(parameter.shape, dtype=np.float32)
        parameter.data = torch.from_numpy(values) / max(1, parameter[0].numel()) ** 0.5
    L = torch.from_numpy(network_input(decode(cat()).luma, max(64, network.stride), network.stride))
    with torch.inference_mode():
        return reduced(network(L).float().numpy())


def expert_output(ensemble: Ensemble, category: str) -> Array:
    ab, _ = ensemble.predict(decode(cat()), RouteOptions(category=category))
    return reduced(ab)


def categories_by_expert(bundle: Bundle) -> dict[str, str]:
    return {expert: category for category, expert in bundle.manifest.categories.items()}


def difference(one: Array, other: Array) -> float:
    """The mean ΔE00 at a lightness of 50."""
    first, second = (np.dstack((np.full(ab.shape[1:], 50.0), *ab.astype(float))) for ab in (one, other))
    return float(deltaE_ciede2000(first, second).mean())


@pytest.mark.parametrize("family", COLORIZERS)
def test_every_family_gives_its_golden_color(family: str) -> None:
    with np.load(GOLDENS) as goldens:
        assert difference(family_output(family), goldens[f"family/{family}"]) < TOLERANCE


@pytest.mark.slow
def test_every_expert_gives_its_golden_color_with_one_thread_and_with_two() -> None:
    ensemble = TorchEnsemble(load_bundle())
    threads = torch.get_num_threads()
    with np.load(GOLDENS) as goldens:
        assert set(categories_by_expert(ensemble.bundle)) == {name.split("/")[1] for name in goldens if name.startswith("expert/")}
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                for expert, category in categories_by_expert(ensemble.bundle).items():
                    assert difference(expert_output(ensemble, category), goldens[f"expert/{expert}"]) < TOLERANCE, (expert, count)
        finally:
            torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("precision", get_args(Precision))
def test_openvino_gives_the_golden_colors_in_every_precision(precision: Precision) -> None:
    ensemble = load_ensemble(options=EngineOptions("openvino", precision=precision))
    experts = {expert: category for category, expert in ensemble.bundle.manifest.categories.items()}
    with np.load(GOLDENS) as goldens:
        for expert, category in experts.items():
            assert difference(expert_output(ensemble, category), goldens[f"expert/{expert}"]) < TOLERANCE, expert


def main() -> None:
    """Write the goldens."""
    ensemble = TorchEnsemble(load_bundle())
    families = {f"family/{name}": family_output(name) for name in COLORIZERS}
    experts = {
        f"expert/{expert}": expert_output(ensemble, category) for expert, category in categories_by_expert(ensemble.bundle).items()
    }
    np.savez_compressed(GOLDENS, **families, **experts)


if __name__ == "__main__":
    main()
