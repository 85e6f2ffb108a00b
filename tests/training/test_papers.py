"""The papers' experiments from end to end: what is frozen, streamed, transferred, judged, and served as an expert of a bundle."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import training.__main__ as command
from app.main import create_app
from app.settings import Settings
from models.bundle import load_bundle, verify_bundle
from models.colorizers import COLORIZERS
from models.errors import BundleError, CheckpointError
from models.torchvision_compat import vgg
from tests.server_process import wait_until
from training.config import ClassificationOptions, RecipeError
from training.config.recipe_files import load_recipe, recipe_names
from training.data.dataset_index import read_index
from training.data.datasets import Datasets
from training.data.packs import Pack
from training.data.prepare import prepare
from training.loop.checkpoints import load_state
from training.loop.distributed import single_process
from training.loop.fit import BEST
from training.metrics.classification import error_types
from training.metrics.palette import count_colors
from training.networks.classifiers import build_classifier
from training.networks.imagenet import NETWORKS
from training.networks.trunks import frozen_trunk
from training.runs.train import run
from training.tasks.registry import build_task

ROOT = Path(__file__).parents[2]
CHANGES = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]')
SMALL = (*CHANGES, "data.size=64", "schedule.sizes=[[1.0, 64]]", "schedule.validation_size=64", "data.groups={}")
COMPACT = ('task.trunk="compact"', 'task.weights="everyday"')
CAT = ("each=true", 'categories=["cat"]')


def invoke(*words: str) -> str:
    result = CliRunner().invoke(command.app, list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


def flags(changes: tuple[str, ...]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture(scope="module")
def runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smoke runs of a base and of one expert of every other family."""
    folder = tmp_path_factory.mktemp("runs")
    experts = {
        "everyday-trunk": CHANGES,
        "everyday-experts": (*CHANGES, *CAT, 'task.base="everyday-trunk"'),
        "piefke-colorize": (*SMALL, *CAT),
        "hultgren-batch-norm": (*SMALL, *COMPACT),
        "li-bins": (*SMALL, *CAT, "task.arguments.width=4"),
        "siswanto-cnn": (*SMALL, *CAT),
        "pix2pix-classes": (*SMALL, *CAT, "task.arguments={width=4, depth=6}", "task.discriminator_width=4"),
        "hypercolumn": (*SMALL, *CAT, *COMPACT),
        "piefke-combined": (*SMALL, "task.size=64"),
    }
    for name, changes in experts.items():
        for outcome in run(load_recipe(name, changes, smoke=True), manifest, folder):
            assert outcome.problem == "", outcome
    return folder


FAMILIES = {
    "vgg_expert": "everyday-experts", "iizuka": "piefke-colorize", "vgg_decoder": "hultgren-batch-norm", "zhang": "li-bins",
    "strided_cnn": "siswanto-cnn", "pix2pix": "pix2pix-classes", "hypercolumn": "hypercolumn",
}  # fmt: skip


def publish(manifest: Path, runs: Path, out: Path, *changes: str) -> None:
    words = ["publish", "bundle-everyday", "--smoke", "--data", str(manifest), "--runs", str(runs), "--out", str(out)]
    invoke(*words, *flags((*CHANGES, "keep_all=true", 'base="everyday-trunk"', 'general=""', *changes)))


@pytest.mark.parametrize("family", COLORIZERS)
def test_an_expert_of_every_family_is_published_and_served(
    family: str, manifest: Path, runs: Path, tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    publish(manifest, runs, tmp_path / "mine", f'experts="{FAMILIES[family]}"')
    assert verify_bundle(tmp_path / "mine") == []
    assert load_bundle(tmp_path / "mine").manifest.experts["cat"].family == family
    with TestClient(create_app(Settings(bundle=tmp_path / "mine", jobs=False))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        answer = client.post("/v1/colorize?category=cat&format=png", files={"file": pictures["cat.jpg"]})
        assert (answer.status_code, answer.headers["x-chromaroute-expert"]) == (200, "cat")
        again = client.post("/v1/colorize?category=cat&format=png", files={"file": pictures["cat.jpg"]})
        assert again.content == answer.content


def test_any_family_may_paint_the_fallback(manifest: Path, runs: Path, tmp_path: Path) -> None:
    publish(manifest, runs, tmp_path / "mine", 'general="piefke-combined"', 'experts="siswanto-cnn"')
    cards = load_bundle(tmp_path / "mine").manifest.experts
    assert {name: card.family for name, card in cards.items()} == {"general": "iizuka", "cat": "strided_cnn"}
    with pytest.raises(CheckpointError, match="does not paint by itself"):
        publish(manifest, runs, tmp_path / "other", 'general="everyday-trunk"')


def test_paper_004s_bundle_needs_no_joint_run(manifest: Path, runs: Path, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg.vgg16(init_weights=False).state_dict().items()}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, tmp_path / "vgg16.safetensors")
    groups = 'data.groups={animal=["cat"], person=["flower"], vehicle=["food"]}'
    changes = (*SMALL[:-1], groups, "task.arguments={width=4, depth=6}", "task.discriminator_width=4")
    for outcome in run(load_recipe("pix2pix-classes", changes, smoke=True), manifest, tmp_path / "runs"):
        assert outcome.problem == "", outcome
    router = f'router.weights="{tmp_path / "vgg16.safetensors"}"'
    words = ["--smoke", "--data", str(manifest), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "mine")]
    invoke("publish", "bundle-pix2pix", *words, *flags((*CHANGES, groups, 'general=""', router)))
    bundle = load_bundle(tmp_path / "mine")
    assert set(bundle.manifest.categories) == set(bundle.manifest.experts) == {"animal", "person", "vehicle"}
    assert (bundle.router.fallback, bundle.router.threshold) == ("person", 0.05)
    assert set(bundle.manifest.trunks) == {"vgg16"}
    only = 'data.groups={animal=["cat"], person=["flower"]}'
    with pytest.raises(BundleError, match="nothing paints vehicle"):
        invoke("publish", "bundle-pix2pix", *words, *flags((*CHANGES, only, 'general=""', router)))
    with pytest.raises(RecipeError, match="has no base, whose head would route"):
        invoke("publish", "bundle-everyday", *words, *flags((*CHANGES, 'base=""')))


def test_paper_001s_trunk_stays_frozen_its_batch_statistics_too(manifest: Path, runs: Path) -> None:
    recipe = load_recipe("hultgren-plain", (*SMALL, *COMPACT, "schedule.learning_rate=0.1"), smoke=True)
    task = build_task(recipe, Datasets(recipe.data, manifest), "cat", runs, single_process())
    trunk = task.network.trunk  # type: ignore[attr-defined]
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    decoder = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}  # type: ignore[attr-defined]
    for step in range(3):
        task.step(task.draw(step), 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())
    assert any("running_mean" in name for name in before)
    assert all(parameter.grad is None for parameter in trunk.parameters())
    assert not any(torch.equal(tensor, decoder[name]) for name, tensor in task.network.state_dict().items())  # type: ignore[attr-defined]


@pytest.mark.parametrize("backbone", ["vgg19", "resnet50", "inception"])
def test_paper_003s_backbones_take_imagenets_weights_and_leave_their_top(backbone: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in NETWORKS[backbone][1]().state_dict().items()}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, tmp_path / "zero.safetensors")
    options = ClassificationOptions(kind="naming", backbone=backbone, weights=str(tmp_path / "zero.safetensors"), frozen=True)  # type: ignore[arg-type]
    classifier = build_classifier(options, classes=6).train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items() if name.startswith("features.network.")}
    assert all(not tensor.any() for tensor in before.values())
    logits = classifier(torch.rand(2, 1, 96, 96) * 100, torch.zeros(2, 2, 96, 96))
    logits.sum().backward()
    assert logits.shape == (2, 6)
    assert {name.split(".")[0] for name, p in classifier.named_parameters() if p.grad is not None} == {"top"}
    assert [type(layer).__name__ for layer in classifier.top] == ["BatchNorm1d", "Dropout", "Linear"]  # type: ignore[union-attr]
    assert all(torch.equal(classifier.state_dict()[name], tensor) for name, tensor in before.items())
    with pytest.raises(RecipeError, match="there are no task.weights"):
        build_classifier(options.model_copy(update={"weights": ""}), classes=6)


@pytest.mark.parametrize(("backbone", "known"), [("compact", "'', 'everyday'"), ("zhang", "''"), ("iizuka", "''")])
def test_a_backbone_of_ours_takes_no_weights_that_are_not_for_it(backbone: str, known: str) -> None:
    options = ClassificationOptions(kind="naming", backbone=backbone, weights="imagenet")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=f"task.weights is 'imagenet': for the backbone {backbone} give {known}\\."):
        build_classifier(options, classes=3)
    with pytest.raises(RecipeError, match="reads gray"):
        build_classifier(options.model_copy(update={"reads": "color", "weights": ""}), classes=3)


def test_a_trunk_comes_only_with_weights_of_its_own() -> None:
    for network, weights, message in (
        ("compact", "imagenet", "give trunk compact with weights everyday"),
        ("vgg16", "everyday", "or vgg16 or vgg19 with weights imagenet"),
        ("oak", "imagenet", "no trunk 'oak'"),
    ):
        with pytest.raises(RecipeError, match=message):
            frozen_trunk(network, weights)


MEASURE = """
import sys, numpy as np
from training.config import Data
from training.data.batches import plain_batches, training_batch
from training.data.packs import Pack

def anonymous():  # MiB that are this process' own; the mapped file is the system's to drop
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024

count = int(sys.argv[1])
pixels = np.memmap(sys.argv[2], np.uint8, "r", shape=(count, 3, 128, 128))
pack = Pack(pixels, np.arange(count), np.zeros(count, np.int64), ("cat",))
most, before = 0.0, anonymous()
for step in range(40):
    training_batch(pack, step, 16, 128, 1, Data())
    most = max(most, anonymous() - before)
for batch, _ in zip(plain_batches(pack.pick(np.arange(0, count, 2)), 16, 128), range(40)):
    most = max(most, anonymous() - before)
print(most)
"""


def test_pictures_are_streamed_so_that_many_need_no_more_memory_than_few(tmp_path: Path) -> None:
    used = {}
    for count in (1_000, 200_000):  # 47 MiB of pictures, and 9.2 GiB, in sparse files
        with (tmp_path / str(count)).open("wb") as file:
            file.truncate(count * 3 * 128 * 128)
        words = [sys.executable, "-c", MEASURE, str(count), str(tmp_path / str(count))]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        used[count] = float(done.stdout)
    assert used[200_000] < used[1_000] + 16


def test_a_pack_of_a_category_reads_the_same_pictures_as_the_whole(tmp_path: Path) -> None:
    pixels = np.arange(6 * 3 * 2 * 2, dtype=np.uint8).reshape(6, 3, 2, 2)
    pack = Pack(pixels, np.arange(6), np.array([0, 1, 0, 1, 0, 1]), ("a", "b"))
    own = pack.pick(np.array([1, 3, 5])).pick(np.array([2, 0]))
    assert np.array_equal(own.rows(np.array([0, 1])), pixels[[5, 1]])
    assert np.array_equal(own.row(1), pixels[1])
    assert own.labels.tolist() == [1, 1]


def test_paper_002s_transfer_takes_over_the_classifiers_blocks(manifest: Path, tmp_path: Path) -> None:
    cifar = (*SMALL, "task.arguments.width=4")
    list(run(load_recipe("li-classifier", cifar, smoke=True), manifest, tmp_path))
    tensors, _ = load_state(tmp_path / "li-classifier" / BEST)
    recipe = load_recipe("li-transfer", cifar, smoke=True)
    task = build_task(recipe, Datasets(recipe.data, manifest), "general", tmp_path, single_process())
    encoder = task.network.encoder.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(encoder[name], tensors[f"features.encoder.{name}"]) for name in encoder)
    wider = load_recipe("li-transfer", (*SMALL, "task.arguments.width=8"), smoke=True)
    with pytest.raises(RecipeError, match="train it with the same width"):
        build_task(wider, Datasets(wider.data, manifest), "general", tmp_path, single_process())


def test_paper_002s_judge_sees_gray_colorized_annealed_and_true_pictures(manifest: Path, runs: Path, tmp_path: Path) -> None:
    list(run(load_recipe("li-judge", SMALL, smoke=True), manifest, tmp_path))
    out = tmp_path / "judged.json"
    painters = [str(runs / "li-bins" / "cat"), str(runs / "siswanto-cnn" / "cat")]
    words = ["judge", str(tmp_path / "li-judge"), *painters, "--data", str(manifest), "--out", str(out)]
    assert "siswanto-cnn/cat" in invoke(*words)
    painters[1] = str(runs / "piefke-combined")
    words = ["judge", str(tmp_path / "li-judge"), *painters, "--data", str(manifest), "--out", str(out)]
    text = invoke(*words, "--temperatures", "0.38,0.89,1")
    assert "16 pictures, judged by a classifier of 4 classes" in text
    ways = json.loads(out.read_text())["ways"]
    assert list(ways) == ["gray", "cat, annealed T 0.38", "cat, annealed T 0.89", "cat, mean", "piefke-combined", "truth"]
    assert ways["gray"]["gain"] == 0
    assert all(0 <= row["accuracy"] <= 1 and 0 < row["confidence"] < 1 for row in ways.values())
    with pytest.raises(CheckpointError, match="does not judge colors"):
        invoke("judge", painters[1], painters[0], "--data", str(manifest))
    with pytest.raises(Exception, match="give numbers above 0"):
        invoke(*words, "--temperatures", "0.38,x")


def test_paper_000s_color_analysis_finds_the_most_common_colors(tmp_path: Path) -> None:
    lab = np.zeros((4, 3, 64, 64), np.uint8)
    lab[:, 0], lab[:, 1:] = 128, 128  # mid-gray
    lab[3, 1] = 128 + 60  # a quarter is red
    found = count_colors(Pack(lab, np.arange(4), np.zeros(4, np.int64), ("a",)))
    assert found.pictures == 4
    assert found.shares.tolist() == pytest.approx([0.75, 0.25])
    assert np.ptp(found.colors[0].astype(int)) == 0
    assert found.colors[1][0] > found.colors[1][1] + 60


def test_the_color_analysis_is_drawn(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "colors.png"
    text = invoke("colors", "--data", str(manifest), "--set-name", "photographs", "--category", "food", "--out", str(out))
    assert len(re.findall(r"^#[0-9a-f]{6} \d+\.\d%$", text, re.MULTILINE)) == 10
    with Image.open(out) as picture:
        assert picture.size == (1000, 540)


def test_both_kinds_of_error_are_paper_004s() -> None:
    found = error_types(["animal", "person", "vehicle"], [[100, 0, 0], [11, 85, 4], [0, 13, 87]])
    assert found["person"] == {"type1": pytest.approx(0.15), "type2": pytest.approx(13 / 200)}  # the paper: 15%, 13 of 100 vehicles
    assert found["animal"] == {"type1": 0, "type2": pytest.approx(11 / 200)}
    assert found["vehicle"]["type1"] == pytest.approx(0.13)


def test_a_data_set_may_come_with_its_own_splits_in_folders_or_an_archive(
    photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    for split, count in (("train", 3), ("test", 8)):
        for index in range(count):
            path = tmp_path / "cifar" / split / "cat" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photographs["cat"].crop((index, 0, index + 40, 40)).save(path)
    subprocess.run(["tar", "-cJf", str(tmp_path / "cifar.tar.xz"), "-C", str(tmp_path / "cifar"), "train", "test"], check=True)
    of_folder, of_archive = (prepare(tmp_path / name).entries for name in ("cifar", "cifar.tar.xz"))
    key = {entry.sha256: (entry.set, entry.split, entry.category) for entry in of_folder}
    assert key == {entry.sha256: (entry.set, entry.split, entry.category) for entry in of_archive}
    splits = [entry.split for entry in of_archive]
    assert splits.count("train") == 3
    assert {"val", "test"} <= set(splits)
    assert {entry.set for entry in of_archive} == {"cifar"}


def test_every_paper_has_its_recipes_and_each_says_what_to_expect() -> None:
    names = set(recipe_names())
    builds = ("", "-dropout", "-residual")
    assert {f"piefke-{task}{build}" for task in ("colorize", "classify", "combined") for build in builds} <= names
    assert {"hultgren-plain", "hultgren-batch-norm", "hultgren-dropout"} <= names
    assert {"li-regression", "li-bins", "li-rebalanced", "li-classifier", "li-transfer", "li-judge"} <= names
    assert {"siswanto-cnn", "siswanto-vgg19", "siswanto-resnet50", "siswanto-inception", "bundle-siswanto"} <= names
    assert {"pix2pix-classes", "pix2pix-general", "hypercolumn", "bundle-pix2pix"} <= names


def test_the_manifest_of_the_tests_has_every_split(manifest: Path) -> None:
    assert {entry.split for entry in read_index(manifest)} == {"train", "val", "test"}
