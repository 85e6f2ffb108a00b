import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from models.bundle import Bundle, load_bundle, network_bytes, verify_bundle
from models.bundle_header import EVERYDAY
from models.errors import BundleError, CheckpointError
from models.expert_cache import ExpertCache
from models.imaging import Picture
from models.manifest import MANIFEST
from models.options import Options
from models.torch_networks import TorchEnsemble

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(EVERYDAY, tmp_path / "bundle"))


def rewrite(folder: Path, change: Change) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def replace_general(folder: Path, content: bytes) -> None:
    """Replace the file of the general expert, and correct its digest and size in the cards."""
    (folder / "general.safetensors").write_bytes(content)
    digest_and_size = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    def correct_cards(manifest: dict[str, Any]) -> None:
        for card in manifest["experts"].values():
            if card["file"] == "general.safetensors":
                card.update(digest_and_size)

    rewrite(folder, correct_cards)


def test_embedded_bundle_is_valid_and_small(bundle: Bundle) -> None:
    assert verify_bundle(EVERYDAY) == []
    assert sum(path.stat().st_size for path in EVERYDAY.iterdir()) <= 24 * 2**20
    assert len(bundle.manifest.categories) >= 12
    assert bundle.router.fallback == "general"
    assert all(card.license and card.data for card in bundle.manifest.cards().values())


def test_loaded_networks_are_frozen_float32(bundle: Bundle) -> None:
    for network in (*bundle.trunks.values(), bundle.classifier, *bundle.experts.values()):
        assert not network.training
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())


def test_altered_file_is_reported_with_both_digests(copy: Path) -> None:
    path = copy / "general.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expert general, .*general.safetensors, has the sha256 [0-9a-f]{64} and its card"):
        load_bundle(copy)
    assert len(verify_bundle(copy)) == 1
    path.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match=r"general.safetensors, has \d+ bytes"):
        load_bundle(copy)


def test_missing_file_is_reported(copy: Path) -> None:
    (copy / "router.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"router.*router.safetensors, is missing"):
        load_bundle(copy)


def test_tensors_of_wrong_shape_or_name_are_rejected(copy: Path) -> None:
    tensors = load((copy / "general.safetensors").read_bytes())
    replace_general(copy, save({**tensors, "logits.weight": tensors["logits.weight"][:5].clone()}))
    with pytest.raises(CheckpointError, match=r"(?s)expert general.*does not fit.*logits.weight"):
        load_bundle(copy)
    replace_general(copy, save({**tensors, "extra": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"(?s)Unexpected.*extra"):
        load_bundle(copy)
    assert "extra" in verify_bundle(copy)[0]


def test_file_of_other_format_is_rejected(copy: Path) -> None:
    replace_general(copy, b"\x80\x04 a pickle")
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(color="red"), "color: Extra inputs"),
        (lambda m: m["categories"].update(cat="nobody"), "experts that do not exist: nobody"),
        (lambda m: m["router"].update(fallback="nowhere"), "fallback 'nowhere'"),
        (lambda m: m["router"].update(trunk="oak"), "the trunk 'oak'"),
        (lambda m: m["router"].update(threshold=2), "router.threshold"),
        (lambda m: m["experts"]["general"].update(file="../../etc/passwd.safetensors"), "experts.general.file"),
        (
            lambda m: [expert.update(family="crayon") for expert in m["experts"].values()],
            "no family 'crayon': give one of vgg_expert",
        ),
        (lambda m: m["experts"]["general"].update(arguments={"depth": 3}), "expert general.*depth"),
        (lambda m: m["experts"]["general"].update(trunk=None), "needs a trunk"),
        (lambda m: m["router"].update(family="resnet"), "no classifier 'resnet'"),
        (lambda m: m["router"].update(family="imagenet", arguments={}), "reads the trunk vgg16 or vgg19"),
        (lambda m: m["experts"]["general"].update(working_size=32), "working size of expert general is 32, and its trunk"),
        (lambda m: m["experts"]["general"].update(working_size=100), "is 100: give a multiple of 32"),
        (lambda m: m["categories"].pop("cat"), "without an expert: cat"),
    ],
)
def test_invalid_manifest_is_rejected_with_reason(copy: Path, change: Change, message: str) -> None:
    rewrite(copy, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


def test_folder_without_valid_manifest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: .*manifest.json"):
        load_bundle(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="not a valid manifest"):
        load_bundle(tmp_path)


def test_expert_cache_evicts_and_reloads_experts(copy: Path, photographs: dict[str, Image.Image]) -> None:
    unlimited = load_bundle(copy)
    size = network_bytes(unlimited.experts["general"])
    limited = load_bundle(copy, expert_bytes=2 * size)
    cache = limited.experts
    assert isinstance(cache, ExpertCache)
    assert len(cache.loaded) == 2 < len(cache)
    picture = decode_picture(photographs["flower"])
    first, second, third, *_ = (name for name, card in unlimited.manifest.experts.items() if card.shares)
    for category in (first, second, third, first):
        expected, _ = TorchEnsemble(unlimited).predict(picture, Options(category=category))
        actual, _ = TorchEnsemble(limited).predict(picture, Options(category=category))
        assert np.array_equal(actual, expected)
        assert cache.loaded[-1] == unlimited.manifest.categories[category]
        assert len(cache.loaded) <= 2
    assert third in cache.loaded
    assert second not in cache.loaded
    (copy / unlimited.manifest.experts[second].file).write_bytes(b"other")
    with pytest.raises(CheckpointError, match=f"expert {second}"):
        cache[second]


def test_variants_leave_out_experts_with_the_colors_of_a_more_probable_one(copy: Path, photographs: dict[str, Image.Image]) -> None:
    picture, options = decode_picture(photographs["cat"]), Options(threshold=0.0)
    first, second, third, *_ = (candidate.category for candidate in TorchEnsemble(load_bundle(copy)).route(picture, options).top)

    def repeat(manifest: dict[str, Any]) -> None:
        manifest["experts"][second] = {**manifest["experts"][first], "category": second}

    rewrite(copy, repeat)
    variants = TorchEnsemble(load_bundle(copy)).predict_variants(picture, options, 2)
    assert [decision.category for _, decision in variants] == [first, third]


def decode_picture(image: Image.Image) -> Picture:
    return Picture(np.asarray(image.convert("L")), None, "PNG")
