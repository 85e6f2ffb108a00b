"""Publishing of finished runs as a bundle: its contents, its replacement, and the runs and weights that are refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.bundle import Bundle, load_bundle, read_weights, verify_bundle
from models.decision import Decision
from models.errors import BundleError, CheckpointError
from models.imaging import Picture
from models.torch_networks import TorchEnsemble
from tests.cli_runner import invoke, set_options
from tests.small_runs import SETS
from training.config.recipe import DataOptions
from training.config.recipe_files import load_recipe
from training.data.dataset_index import DataError, read_index, write_index
from training.data.datasets import Datasets
from training.evaluation.results import Report
from training.loop.checkpoints import load_state, save_state
from training.loop.run_folder import BEST
from training.networks.imagenet import imagenet_weights
from training.networks.torchvision_compat import vgg
from training.publishing.base import load_base

pytestmark = pytest.mark.slow

PARTS = ('base="everyday-close"', 'experts="everyday-experts"', 'general="everyday-general"')


def publish(manifest: Path, runs: Path, out: Path, *changes: str) -> None:
    options = ["--smoke", "--data", manifest, "--runs", runs, "--out", out]
    invoke("publish", "bundle-everyday", *options, *set_options((*SETS, *PARTS, *changes)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def published(manifest: Path, everyday_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the smoke runs."""
    out = tmp_path_factory.mktemp("bundles") / "everyday"
    publish(manifest, everyday_runs, out)
    return out


def test_published_bundle_is_complete_and_routes_to_its_experts(published: Path) -> None:
    assert verify_bundle(published) == []
    bundle = load_bundle(published)
    assert bundle.router.choices == ("cat", "flower", "food", "general")
    cards = bundle.manifest.experts
    assert all(bundle.manifest.categories[name] == name for name in cards)
    assert {card.file for card in cards.values()} == {path.name for path in published.glob("*.safetensors")} - {
        "trunk.safetensors", "router.safetensors",
    }  # fmt: skip
    assert all(card.scores["validation_delta_e94"] > 0 for name, card in cards.items() if name != "general")


def test_published_bundle_can_be_evaluated(published: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    invoke("evaluate", published, "--data", manifest, "--out", out)
    report = Report.model_validate_json((out / "report.json").read_bytes())
    assert report.scores("gray").psnr_gain == (0, 0, 0)
    assert report.router is not None
    assert report.router.top1.value <= report.router.top3.value <= 1
    assert {category.name for category in report.categories} == {"cat", "food", "flower", "general"}


def test_publishing_again_replaces_the_weights_and_keeps_other_files(
    published: Path, manifest: Path, everyday_runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(published, folder)
    (folder / "CARD.md").write_text("limitations")
    (folder / "stale.safetensors").write_bytes(b"of an expert that was removed")
    publish(manifest, everyday_runs, folder)
    assert contents(folder) == {**contents(published), "CARD.md": b"limitations"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_existing_bundle_is_kept_when_the_new_one_does_not_load(
    published: Path, manifest: Path, everyday_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(published, folder)

    def load(_: Path) -> Bundle:
        raise BundleError("it does not load")

    monkeypatch.setattr("training.publishing.publish.load_bundle", load)
    with pytest.raises(BundleError, match="does not load"):
        publish(manifest, everyday_runs, folder)
    assert contents(folder) == contents(published)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_existing_bundle_is_restored_when_the_new_one_cannot_be_moved(
    published: Path, manifest: Path, everyday_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(published, folder)
    rename, targets = Path.rename, []

    def failing_rename(self: Path, target: Path) -> Path:
        targets.append(target)
        if len(targets) == 2:  # the old folder has been moved away, and the new one is not in its place yet
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(OSError, match="disk full"):
        publish(manifest, everyday_runs, folder)
    assert contents(folder) == contents(published)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_folder_that_is_not_a_bundle_is_not_replaced(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("letters")
    with pytest.raises(BundleError, match="is not a bundle"):
        publish(manifest, everyday_runs, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "letters"


def test_missing_run_cannot_be_published(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train the recipe that makes it first"):
        publish(manifest, tmp_path, tmp_path / "out")


def test_expert_cannot_be_the_base_of_a_bundle(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no trunk"):
        publish(manifest, everyday_runs, tmp_path / "out", 'base="everyday-experts/cat"')


def test_experts_of_another_base_cannot_be_published(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(everyday_runs, runs)
    tensors, meta = load_state(runs / "everyday-close" / BEST)
    save_state(runs / "everyday-close" / BEST, tensors, {**meta, "step": 3})
    with pytest.raises(CheckpointError, match="fine-tuned from another everyday-close"):
        publish(manifest, runs, tmp_path / "out")


def test_logits_of_the_router_are_lowered_by_the_logarithm_of_the_frequency(
    manifest: Path, everyday_runs: Path, tmp_path: Path
) -> None:
    biases = []
    for weight in (0.0, 1.0):
        publish(manifest, everyday_runs, tmp_path / f"{weight}", f"router.prior_weight={weight}")
        card = load_bundle(tmp_path / f"{weight}").manifest.router
        biases.append(read_weights(tmp_path / f"{weight}" / card.file, card, "router")["dense.bias"].float())
    frequencies = Datasets(load_recipe("everyday-close", SETS, smoke=True).data, manifest).frequencies
    assert torch.allclose(biases[0][:-1] - biases[1][:-1], torch.from_numpy(np.log(frequencies[:-1])).float(), atol=0.02)
    assert biases[0][-1] == biases[1][-1]  # of *general*


def test_what_a_bundle_recipe_does_not_say_of_the_data_is_as_in_the_base(manifest: Path, everyday_runs: Path) -> None:
    base = load_base(everyday_runs, "everyday-close", torch.device("cpu"))
    trained = load_recipe("everyday-close", SETS, smoke=True).data
    assert base.completed(DataOptions()) == trained
    assert base.completed(DataOptions(limit=7)) == trained.model_copy(update={"limit": 7})


def test_dataset_index_with_other_categories_than_the_base_is_rejected(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    entries = [replace(entry, category="tiger" if entry.category == "cat" else entry.category) for entry in read_index(manifest)]
    write_index(entries, tmp_path / "manifest.csv")
    with pytest.raises(DataError, match=r"trained on the categories cat, .*dataset index has flower, food, tiger"):
        publish(tmp_path / "manifest.csv", everyday_runs, tmp_path / "out")


@pytest.fixture(scope="module")
def zero_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tensors of torchvision's VGG-16, all zero: every label is as likely as the others."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg.vgg16(init_weights=False).state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, path)
    return path


def publish_with_imagenet_router(out: Path, manifest: Path, runs: Path, router: str) -> tuple[Bundle, Decision]:
    """A bundle with that router, and its decision for a gray picture."""
    publish(manifest, runs, out, f'router={{classifier="imagenet", {router}}}')
    bundle = load_bundle(out)
    return bundle, TorchEnsemble(bundle).predict(Picture(np.full((50, 60), 90, np.uint8), None, "PNG"))[1]


def test_imagenet_router_sums_the_probabilities_of_the_labels_of_a_category(
    zero_weights: Path, manifest: Path, everyday_runs: Path, tmp_path: Path
) -> None:
    router = f'weights="{zero_weights}", threshold=0.1'
    bundle, decision = publish_with_imagenet_router(tmp_path / "sum", manifest, everyday_runs, router)
    assert {"dog", "cat", "food", "general"} <= set(bundle.router.choices)
    assert bundle.manifest.trunks["vgg16"].working_size == 224
    assert decision.reason == "unmapped"  # all labels are equally likely, and most belong to no category
    assert decision.top[1].category == "dog"
    assert decision.top[1].probability == pytest.approx(0.118, abs=1e-3)


def test_imagenet_router_with_the_rule_of_paper_004_falls_back_below_its_threshold(
    zero_weights: Path, manifest: Path, everyday_runs: Path, tmp_path: Path
) -> None:
    router = f'weights="{zero_weights}", mapping="animal-person-vehicle", score="max", threshold=0.05, fallback="person"'
    bundle, decision = publish_with_imagenet_router(tmp_path / "max", manifest, everyday_runs, router)
    assert bundle.router.categories == ("animal", "person", "vehicle")
    assert (decision.category, decision.fell_back, decision.reason) == ("person", True, "below_threshold")


def test_missing_damaged_or_other_imagenet_weights_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no pickle")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, message in (
        ("missing.safetensors", "cannot be loaded from"),
        ("bad.pth", "cannot be loaded from"),
        ("other.safetensors", "does not contain"),
    ):
        with pytest.raises(CheckpointError, match=message):
            imagenet_weights("vgg16", tmp_path / name)
