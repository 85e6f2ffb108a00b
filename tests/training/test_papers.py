"""The experiments of the papers: frozen trunks, pretrained backbones, transferred encoders, and analyses of data and errors."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.cli_runner import invoke
from tests.small_runs import AT_64_PX, run_names
from training.config.recipe_files import load_recipe, recipe_names
from training.config.section import RecipeError
from training.config.task_options import ClassificationOptions
from training.data.datasets import Datasets
from training.data.packs import Pack
from training.loop.checkpoints import load_state
from training.loop.distributed import single_process
from training.loop.run_folder import BEST
from training.metrics.classification import error_types
from training.metrics.palette import count_colors
from training.networks.classifiers import build_classifier
from training.networks.imagenet import NETWORKS
from training.networks.trunks import frozen_trunk
from training.runs.train import train_recipe
from training.tasks import Task, TaskContext, build_task

pytestmark = pytest.mark.slow

SMALL = (*AT_64_PX, "data.groups={}")


def smoke_task(name: str, changes: tuple[str, ...], category: str, manifest: Path, runs: Path) -> Task:
    """The task of a recipe with these changes, shrunk to a smoke run."""
    recipe = load_recipe(name, changes, smoke=True)
    return build_task(TaskContext(recipe, Datasets(recipe.data, manifest), category, runs, single_process()))


def test_trunk_of_paper_001_stays_frozen_with_its_batch_statistics(manifest: Path, tmp_path: Path) -> None:
    trunk = ('task.trunk="deep"', 'task.weights="everyday"', "schedule.learning_rate=0.1")
    task = smoke_task("hultgren-plain", (*SMALL, *trunk), "cat", manifest, tmp_path)
    network = task.network  # type: ignore[attr-defined]
    trunk = network.trunk
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    decoder = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for step in range(3):
        task.step(task.draw(step), 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())
    assert any("running_mean" in name for name in before)
    assert all(parameter.grad is None for parameter in trunk.parameters())
    assert not any(torch.equal(tensor, decoder[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("backbone", ["vgg19", "resnet50", "inception"])
def test_backbones_of_paper_003_take_imagenet_weights_and_train_only_the_new_layers(backbone: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in NETWORKS[backbone][1]().state_dict().items()}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, tmp_path / "zero.safetensors")
    weights = str(tmp_path / "zero.safetensors")
    options = ClassificationOptions(kind="classification", backbone=backbone, weights=weights, frozen=True)  # type: ignore[arg-type]
    classifier = build_classifier(options, classes=6).train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items() if name.startswith("features.network.")}
    assert all(not tensor.any() for tensor in before.values())
    logits = classifier(torch.rand(2, 1, 96, 96) * 100, torch.zeros(2, 2, 96, 96))
    logits.sum().backward()
    assert logits.shape == (2, 6)
    assert {name.split(".")[0] for name, p in classifier.named_parameters() if p.grad is not None} == {"top"}
    assert [type(layer).__name__ for layer in classifier.top] == ["BatchNorm1d", "Dropout", "Linear"]  # type: ignore[union-attr]
    assert all(torch.equal(classifier.state_dict()[name], tensor) for name, tensor in before.items())
    with pytest.raises(RecipeError, match="task.frozen is true and task.weights is empty"):
        build_classifier(options.model_copy(update={"weights": ""}), classes=6)


@pytest.mark.parametrize(("backbone", "known"), [("deep", "'', 'everyday'"), ("zhang", "''"), ("iizuka", "''")])
def test_own_backbones_refuse_other_weights_and_color_input(backbone: str, known: str) -> None:
    options = ClassificationOptions(kind="classification", backbone=backbone, weights="imagenet")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=f"task.weights is 'imagenet': for the backbone {backbone} give {known}\\."):
        build_classifier(options, classes=3)
    with pytest.raises(RecipeError, match="reads gray"):
        build_classifier(options.model_copy(update={"input": "color", "weights": ""}), classes=3)


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        ("deep", "imagenet", "give trunk deep with weights everyday"),
        ("vgg16", "everyday", "or vgg16 or vgg19 with weights imagenet"),
        ("oak", "imagenet", "no trunk 'oak'"),
    ],
)
def test_frozen_trunk_refuses_weights_of_another_network(network: str, weights: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        frozen_trunk(network, weights)


def test_transfer_of_paper_002_starts_from_the_encoder_of_the_classifier(manifest: Path, tmp_path: Path) -> None:
    narrow = (*SMALL, "task.arguments.width=4")
    run_names(train_recipe(load_recipe("li-classifier", narrow, smoke=True), manifest, tmp_path))
    tensors, _ = load_state(tmp_path / "li-classifier" / BEST)
    task = smoke_task("li-transfer", narrow, "general", manifest, tmp_path)
    encoder = task.network.encoder.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(encoder[name], tensors[f"features.encoder.{name}"]) for name in encoder)
    with pytest.raises(RecipeError, match="train it with the same task.arguments"):
        smoke_task("li-transfer", (*SMALL, "task.arguments.width=8"), "general", manifest, tmp_path)


def test_palette_of_paper_000_lists_the_most_common_colors() -> None:
    lab = np.zeros((4, 3, 64, 64), np.uint8)
    lab[:, 0], lab[:, 1:] = 128, 128  # mid-gray
    lab[3, 1] = 128 + 60  # a quarter is red
    labels = np.zeros(4, np.int64)
    palette = count_colors(Pack(lab, np.arange(4), labels, labels, ("a",)))
    assert palette.pictures == 4
    assert palette.shares.tolist() == pytest.approx([0.75, 0.25])
    assert np.ptp(palette.colors[0].astype(int)) == 0
    assert palette.colors[1][0] > palette.colors[1][1] + 60


def test_palette_command_prints_and_plots_colors(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "palette.png"
    text = invoke("palette", "--data", manifest, "--set-name", "photographs", "--category", "food", "--out", out)
    assert len(re.findall(r"^#[0-9a-f]{6} \d+\.\d%$", text, re.MULTILINE)) == 10
    with Image.open(out) as picture:
        assert picture.size == (1000, 540)


def test_error_types_match_paper_004() -> None:
    errors = error_types(["animal", "person", "vehicle"], [[100, 0, 0], [11, 85, 4], [0, 13, 87]])
    assert errors["person"] == pytest.approx((0.15, 13 / 200))  # in the paper 15%, and 13 of 100 vehicles
    assert errors["animal"] == pytest.approx((0, 11 / 200))
    assert errors["vehicle"][0] == pytest.approx(0.13)


def test_every_paper_has_its_recipes() -> None:
    names = set(recipe_names())
    builds = ("", "-dropout", "-residual")
    assert {f"piefke-{task}{build}" for task in ("colorize", "classify", "combined") for build in builds} <= names
    assert {"hultgren-plain", "hultgren-batch-norm", "hultgren-dropout"} <= names
    assert {"li-regression", "li-bins", "li-rebalanced", "li-classifier", "li-transfer", "li-judge"} <= names
    assert {"siswanto-cnn", "siswanto-vgg19", "siswanto-resnet50", "siswanto-inception", "bundle-siswanto"} <= names
    assert {"pix2pix-classes", "pix2pix-general", "hypercolumn", "bundle-pix2pix"} <= names
