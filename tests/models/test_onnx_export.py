"""`chromaroute bundle export --onnx`: other programs give the same colors with its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.bundle import Bundle
from models.imaging import Picture
from models.onnx_export import INDEX, export_onnx
from models.picture_inputs import PictureInputs
from models.torch_networks import TorchEnsemble

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    names = export_onnx(bundle, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return folder


@pytest.mark.parametrize("category", ["general", "cat", "flower"])
@pytest.mark.parametrize("size", [(200, 200), (300, 180)])
def test_onnx_runtime_gives_the_same_colors(
    exported: Path, ensemble: TorchEnsemble, photographs: dict[str, Image.Image], category: str, size: tuple[int, int]
) -> None:
    index = json.loads((exported / INDEX).read_bytes())
    picture = Picture(np.asarray(photographs["flower"].convert("L").resize(size)), None, "png")
    inputs = PictureInputs.of(picture)
    features = ensemble._cache(inputs)
    expert = index["experts"][index["categories"][category]]
    L = inputs.lightness(ensemble.bundle.manifest.experts[index["categories"][category]], expert["stride"])
    trunk = onnxruntime.InferenceSession(exported / expert["trunk"])
    values = dict(zip([output.name for output in trunk.get_outputs()], trunk.run(None, {"lightness": L}), strict=True))
    np.testing.assert_allclose(values.pop("probabilities")[0], features.probabilities(), atol=1e-5)
    (ab,) = onnxruntime.InferenceSession(exported / expert["file"]).run(
        None, {name: {"lightness": L, **values}[name] for name in expert["inputs"]}
    )
    np.testing.assert_allclose(ab, features.ab(index["categories"][category]), atol=1e-2)


def test_example_of_the_documentation_runs(exported: Path, photographs: dict[str, Image.Image], tmp_path: Path) -> None:
    code = (ROOT / "docs" / "networks.md").read_text().partition("```python\n")[2].partition("```")[0]
    (tmp_path / "onnx").symlink_to(exported)
    photographs["cat"].convert("L").save(tmp_path / "scan.jpg")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True)
    assert run.stdout == "cat (1, 2, 32, 48)\n", run.stderr
