"""Experts of every family, trained by the recipes of the papers, published in bundles, served, and judged."""

import json
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import save_file

from app.main import create_app
from app.settings import Settings
from models.bundle import load_bundle, verify_bundle
from models.colorizers import COLORIZERS, Colorizer
from models.ensemble import Ensemble
from models.errors import BundleError, CheckpointError
from tests.cli_runner import invoke, set_options
from tests.server_process import wait_until
from tests.small_runs import AT_64_PX, SETS, run_names
from training.config.recipe_files import load_recipe
from training.config.section import RecipeError
from training.data.dataset_index import DataError
from training.networks.torchvision_compat import vgg
from training.publishing.base import load_base
from training.runs.train import train_recipe

pytestmark = pytest.mark.slow

IMPORTED = ("siggraph17", "ddcolor")  # by `chromaroute bundle import`; no recipe trains them

SMALL = (*AT_64_PX, "data.groups={}")
EVERYDAY_TRUNK = ('task.trunk="deep"', 'task.weights="everyday"')
CAT = ("per_category=true", 'categories=["cat"]')
SMALL_PIX2PIX = ("task.arguments={width=4, depth=6}", "task.discriminator_width=4")

FAMILIES = {
    "vgg_expert": "everyday-experts", "iizuka": "piefke-colorize", "vgg_decoder": "hultgren-batch-norm", "zhang": "li-bins",
    "zhang_regression": "li-regression", "strided_cnn": "siswanto-cnn", "pix2pix": "pix2pix-classes", "hypercolumn": "hypercolumn",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smoke runs of a base, of an expert of every family for cats, and of a general colorizer."""
    folder = tmp_path_factory.mktemp("runs")
    changes = {
        "everyday-trunk": SETS,
        "everyday-experts": (*SETS, *CAT, 'task.base="everyday-trunk"'),
        "piefke-colorize": (*SMALL, *CAT),
        "hultgren-batch-norm": (*SMALL, *EVERYDAY_TRUNK),
        "li-bins": (*SMALL, *CAT, "task.arguments.width=4"),
        "li-regression": (*SMALL, *CAT, "task.arguments.width=4"),
        "siswanto-cnn": (*SMALL, *CAT),
        "pix2pix-classes": (*SMALL, *CAT, *SMALL_PIX2PIX),
        "hypercolumn": (*SMALL, *CAT, *EVERYDAY_TRUNK),
        "piefke-combined": (*SMALL, "task.size=64"),
    }
    for name, own in changes.items():
        run_names(train_recipe(load_recipe(name, own, smoke=True), manifest, folder))
    return folder


def publish(recipe: str, manifest: Path, runs: Path, out: Path, *changes: str) -> None:
    options = ("--smoke", "--data", manifest, "--runs", runs, "--out", out)
    invoke("publish", recipe, *options, *set_options((*SETS, 'general=""', *changes)))


def publish_everyday(manifest: Path, runs: Path, out: Path, *changes: str) -> None:
    publish("bundle-everyday", manifest, runs, out, "keep_all=true", 'base="everyday-trunk"', *changes)


@pytest.mark.parametrize("family", [family for family in COLORIZERS if family not in IMPORTED])
def test_expert_of_every_family_is_published_and_served(
    family: str, manifest: Path, runs: Path, tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    publish_everyday(manifest, runs, tmp_path / "mine", f'experts="{FAMILIES[family]}"')
    assert verify_bundle(tmp_path / "mine") == []
    assert load_bundle(tmp_path / "mine").manifest.experts["cat"].family == family
    with TestClient(create_app(Settings(bundle=tmp_path / "mine", jobs=False))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        response = client.post("/v1/colorize?category=cat&format=png", files={"file": pictures["cat.jpg"]})
        assert (response.status_code, response.headers["x-chromaroute-expert"]) == (200, "cat")
        again = client.post("/v1/colorize?category=cat&format=png", files={"file": pictures["cat.jpg"]})
        assert again.content == response.content


def test_general_expert_can_be_of_any_family(manifest: Path, runs: Path, tmp_path: Path) -> None:
    publish_everyday(manifest, runs, tmp_path / "mine", 'general="piefke-combined"', 'experts="siswanto-cnn"')
    cards = load_bundle(tmp_path / "mine").manifest.experts
    assert {name: card.family for name, card in cards.items()} == {"general": "iizuka", "cat": "strided_cnn"}
    with pytest.raises(CheckpointError, match="is not a run that trained a colorizer of its own"):
        publish_everyday(manifest, runs, tmp_path / "other", 'general="everyday-trunk"')


def test_bundle_of_paper_004_needs_no_joint_run(manifest: Path, tmp_path: Path) -> None:
    weights, runs = tmp_path / "vgg16.safetensors", tmp_path / "runs"
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg.vgg16(init_weights=False).state_dict().items()}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, weights)
    groups, router = 'data.groups={animal=["cat"], person=["flower"], vehicle=["food"]}', f'router.weights="{weights}"'
    recipe = load_recipe("pix2pix-classes", (*AT_64_PX, groups, *SMALL_PIX2PIX), smoke=True)
    run_names(train_recipe(recipe, manifest, runs))
    publish("bundle-pix2pix", manifest, runs, tmp_path / "mine", groups, router)
    bundle = load_bundle(tmp_path / "mine")
    assert set(bundle.manifest.categories) == set(bundle.manifest.experts) == {"animal", "person", "vehicle"}
    assert (bundle.router.fallback, bundle.router.threshold) == ("person", 0.05)
    assert set(bundle.manifest.trunks) == {"vgg16"}
    with pytest.raises(BundleError, match="there is no expert for vehicle"):
        publish("bundle-pix2pix", manifest, runs, tmp_path / "mine", 'data.groups={animal=["cat"], person=["flower"]}', router)
    with pytest.raises(RecipeError, match="has no base, whose head would be the router"):
        publish("bundle-everyday", manifest, runs, tmp_path / "mine", 'base=""')


def test_judge_of_paper_002_scores_gray_colorized_annealed_and_true_pictures(manifest: Path, runs: Path, tmp_path: Path) -> None:
    run_names(train_recipe(load_recipe("li-judge", SMALL, smoke=True), manifest, tmp_path))
    out, judge = tmp_path / "judged.json", tmp_path / "li-judge"
    bins, cnn, combined = runs / "li-bins" / "cat", runs / "siswanto-cnn" / "cat", runs / "piefke-combined"
    assert "siswanto-cnn/cat" in invoke("judge", judge, bins, cnn, "--data", manifest, "--out", out)
    command = ("judge", judge, bins, combined, "--data", manifest, "--out", out)
    text = invoke(*command, "--temperatures", "0.38,0.89,1")
    assert "16 pictures, judged by a classifier with 4 classes" in text
    content = json.loads(out.read_text())
    methods = {row["method"]["name"]: row for row in content["methods"]}
    assert content["pictures"] == 16
    assert list(methods) == ["gray", "cat, annealed T 0.38", "cat, annealed T 0.89", "cat, mean", "piefke-combined", "truth"]
    assert methods["gray"]["gain"] == [0, 0, 0]
    assert all(0 <= row["accuracy"] <= 1 and 0 < row["mean"] < 1 for row in methods.values())
    with pytest.raises(CheckpointError, match="is not a classifier of color pictures"):
        invoke("judge", combined, bins, "--data", manifest)
    with pytest.raises(DataError, match="give numbers above 0"):
        invoke(*command, "--temperatures", "0.38,x")


def test_embedded_bundle_can_be_the_base_of_another(manifest: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="everyday was trained on the categories"):
        publish("bundle-photos64", manifest, tmp_path, tmp_path / "out", "data.groups={}")
    base = load_base(tmp_path, "everyday", torch.device("cpu"))
    trunk, served = ensemble.bundle.trunks[ensemble.bundle.manifest.router.trunk], ensemble.bundle.experts["general"]
    L = torch.linspace(0, 100, 64 * 64).view(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(base.trunk(L)[32], trunk(L)[32])
        general = copy_readout(base.general(128).network, served)
        colors = general.decode(general.predict_from_taps(base.trunk(L), L), L), served.decode(served.predict(L), L)
        torch.testing.assert_close(*colors, rtol=1e-3, atol=1e-3)


def copy_readout(network: Colorizer, served: Colorizer) -> Colorizer:
    """The network, decoded with the readout of the served one."""
    for name in ("temperature", "mute", "saturation"):
        setattr(network, name, getattr(served, name))
    return network
