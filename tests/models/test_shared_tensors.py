"""Experts that share the tensors of another: the same colors as with all tensors of their own, in both engines."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from models.bundle_header import EVERYDAY
from models.colorizers.strided_cnn import StridedCnn
from models.engine_options import EngineOptions
from models.errors import BundleError, CheckpointError
from models.imaging import Picture
from models.loading import load_ensemble
from models.options import RouteOptions
from models.published.importing import NewExpert, add_expert, safetensors_content

CHANGED = ("logits.weight", "logits.bias", "up4.after.weight")
PICTURE = Picture((np.mgrid[0:96, 0:128].sum(axis=0) % 251).astype(np.uint8), None, "png")


def bundle(folder: Path, shared: bool, **changes: object) -> Path:
    """The embedded bundle, whose expert *bird* is the general one with other last layers."""
    shutil.copytree(EVERYDAY, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    general, bird = manifest["experts"]["general"], manifest["experts"]["bird"]
    tensors, own = load_file(folder / general["file"]), load_file(folder / bird["file"])
    mixed = {name: own[name] if name in CHANGED else tensor for name, tensor in tensors.items()}
    save_file({name: mixed[name] for name in CHANGED} if shared else mixed, folder / bird["file"])
    bird |= _file(folder / bird["file"]) | ({"shares": "general"} if shared else {}) | changes
    bird["arguments"] = general["arguments"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_shared_tensors_give_the_same_colors(engine: Any, tmp_path: Path) -> None:
    options = EngineOptions(engine=engine, precision="float32", cache_dir=tmp_path / "cache")
    folders = [bundle(tmp_path / str(shared), shared) for shared in (False, True)]
    assert folders[1].joinpath("bird.safetensors").stat().st_size < folders[0].joinpath("bird.safetensors").stat().st_size / 2
    one, other = (load_ensemble(folder, options).predict(PICTURE, RouteOptions(category="bird"))[0] for folder in folders)
    np.testing.assert_allclose(one, other, atol=1e-4)
    general = load_ensemble(folders[1], options).predict(PICTURE, RouteOptions(category="general"))[0]
    assert np.abs(other - general).max() > 1


def test_shared_expert_is_kept_when_another_replaces_it(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "base", shared=True)
    content = safetensors_content(StridedCnn().state_dict())
    new = NewExpert("other", "strided_cnn", {}, content, ".safetensors", 64, "aspect", "MIT", "a test")
    experts = add_expert(new, folder, tmp_path / "out", None, keep_experts=True).experts
    assert experts["bird"].shares == "general"
    assert "general" in experts


@pytest.mark.parametrize("shares", ["nothing", "bird"])
def test_sharing_with_what_is_no_complete_expert_is_refused(shares: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"bird shares the tensors of '{shares}', which is not a complete expert of its family"):
        load_ensemble(bundle(tmp_path / "bundle", True, shares=shares))


def test_missing_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expert bird"):
        load_ensemble(bundle(tmp_path / "bundle", True, shares=None), EngineOptions(engine="torch"))
