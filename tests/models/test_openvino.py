"""OpenVINO gives the colors of torch, from models that are made once and checked each time."""

import gc
import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import openvino_cache
from models.bundle import load_bundle
from models.bundle_header import EVERYDAY
from models.colorizers import COLORIZERS, TapColorizer
from models.engine_options import EngineOptions
from models.errors import BundleError, CheckpointError, EngineError, OptionError
from models.imaging import decode
from models.loading import load_ensemble
from models.manifest import MANIFEST
from models.options import RouteOptions
from models.torch_networks import TorchEnsemble

FAMILIES = [name for name in COLORIZERS if name != "pix2pix"]  # which draws noise, as the paper says


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded bundle with an expert of every family that OpenVINO can run, whose weights are random, instead of its own."""
    folder = Path(shutil.copytree(EVERYDAY, tmp_path_factory.mktemp("families") / "bundle"))
    manifest = json.loads((folder / MANIFEST).read_text())
    (trunk_name,), categories = manifest["trunks"], list(manifest["categories"])
    trunk = load_bundle(folder).trunks[trunk_name]
    torch.manual_seed(0)
    for family, category in zip(FAMILIES, categories, strict=False):
        kind = COLORIZERS[family]
        taps = issubclass(kind, TapColorizer)
        network = kind(*((trunk,) if taps else ()))
        file = folder / f"{family}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in network.own_state().items()}, file)
        content = file.read_bytes()
        manifest["experts"][family] = {
            "family": family, "arguments": {}, "file": file.name, "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content), "trunk": trunk_name if taps else None, "category": category,
            "working_size": 160, "normalize_tones": True,
        }  # fmt: skip
        manifest["categories"][category] = family
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def link(models: Path, target: Path) -> None:
    """Put models, which are large, into another folder without a copy."""
    shutil.copytree(models, target, copy_function=os.link, dirs_exist_ok=True)


def options(cache: Path, **values: object) -> EngineOptions:
    return EngineOptions("openvino", precision="float32", cache_dir=cache, **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, families: Path) -> Path:
    """A cache with the models of all families."""
    folder = tmp_path_factory.mktemp("cache")
    load_ensemble(families, options(folder))
    return folder


@pytest.mark.parametrize("expert_bytes", [None, 1])
def test_every_family_has_the_colors_of_torch(
    families: Path, cache: Path, pictures: dict[str, bytes], expert_bytes: int | None
) -> None:
    ensemble, reference = load_ensemble(families, options(cache, expert_bytes=expert_bytes)), TorchEnsemble(load_bundle(families))
    for content in list(pictures.values())[:2]:  # of different shapes
        picture = decode(content)
        assert np.allclose(ensemble.inspect(picture)[0], reference.inspect(picture)[0], atol=1e-4)
        for category in list(ensemble.bundle.manifest.categories)[: len(FAMILIES) + 2]:
            route = RouteOptions(category=category)
            ab, expected = (each.predict(picture, route)[0] for each in (ensemble, reference))
            assert np.abs(ab - expected).max() < 0.01, category


def test_threads_may_predict_at_the_same_time(families: Path, cache: Path, pictures: dict[str, bytes]) -> None:
    ensemble, decoded = load_ensemble(families, options(cache)), [decode(content) for content in pictures.values()]
    expected = [ensemble.predict(picture)[0] for picture in decoded]
    with ThreadPoolExecutor(4) as pool:
        for found, ab in zip(pool.map(lambda picture: ensemble.predict(picture)[0], 8 * decoded), 8 * expected, strict=True):
            assert np.array_equal(found, ab)


def test_models_are_made_once_unless_they_are_damaged(
    families: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    export = openvino_cache._export

    def make(folder: Path, target: Path) -> None:
        made.append(target)
        export(folder, target)

    monkeypatch.setattr(openvino_cache, "_export", make)
    copy = Path(shutil.copytree(cache, tmp_path / "cache", copy_function=os.link))
    load_ensemble(families, options(copy))
    assert made == []
    (models,) = copy.iterdir()
    weights = models / "trunk-everyday-base.bin"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    load_ensemble(families, options(copy))
    assert len(made) == 1
    load_ensemble(families, options(copy))
    assert len(made) == 1
    assert [path.name for path in copy.iterdir()] == [models.name]


def test_models_are_made_elsewhere_if_the_cache_cannot_be_written(
    families: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (models,) = cache.iterdir()
    monkeypatch.setattr(openvino_cache, "_export", lambda _, target: link(models, target))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    ensemble = load_ensemble(families, options(tmp_path / "file" / "cache"))
    assert "cannot be kept" in caplog.text
    assert len(list(tmp_path.glob("chromaroute-openvino-*"))) == 1
    del ensemble
    gc.collect()
    assert list(tmp_path.glob("chromaroute-openvino-*")) == []


def test_models_that_were_not_used_for_a_month_are_deleted(
    families: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models,) = cache.iterdir()
    monkeypatch.setattr(openvino_cache, "_export", lambda _, target: link(models, target))
    for name, days in (("openvino-used", 1), ("openvino-unused", 31), (".openvino.interrupted", 31)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    load_ensemble(families, options(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"openvino-used", models.name}
    os.utime(tmp_path / models.name, (0, 0))
    load_ensemble(families, options(tmp_path))
    assert time.time() - (tmp_path / models.name).stat().st_mtime < 60


def test_networks_that_do_not_fit_their_cards_are_refused_with_the_reason(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EVERYDAY, tmp_path / "bundle"))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["experts"]["cat"]["arguments"] = {"bins": 100}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="cat.*does not fit the network of its card"):
        load_ensemble(folder, options(tmp_path / "cache"))


def test_bundle_that_openvino_cannot_run_is_run_by_torch_unless_openvino_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(EVERYDAY, tmp_path / "bundle"))
    manifest = json.loads((folder / MANIFEST).read_text())
    arguments = {"width": 8, "depth": 5}
    save_file(COLORIZERS["pix2pix"](**arguments).state_dict(), folder / "pix2pix.safetensors")
    content = (folder / "pix2pix.safetensors").read_bytes()
    changes = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "file": "pix2pix.safetensors"}
    manifest["experts"]["cat"] |= {"family": "pix2pix", "arguments": arguments, "trunk": None, **changes}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match="rand.*choose the engine torch"):
        load_ensemble(folder, options(tmp_path))
    assert isinstance(load_ensemble(folder, EngineOptions(cache_dir=tmp_path)), TorchEnsemble)
    assert "Torch runs this bundle" in caplog.text


def test_altered_file_is_refused_although_its_models_are_in_the_cache(families: Path, cache: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(families, tmp_path / "bundle", copy_function=os.link))
    size = (folder / "router.safetensors").stat().st_size
    (folder / "router.safetensors").unlink()
    (folder / "router.safetensors").write_bytes(bytes(size))
    with pytest.raises(CheckpointError, match=r"router.*sha256"):
        load_ensemble(folder, options(cache))


def test_engine_options_are_checked() -> None:
    with pytest.raises(OptionError, match="engine is 'tensorrt'.*auto, openvino, torch"):
        EngineOptions("tensorrt")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="precision is 'int3'"):
        EngineOptions(precision="int3")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="device is 'cuda'.*cpu, or choose the engine torch"):
        load_ensemble(options=EngineOptions("openvino", device="cuda"))
