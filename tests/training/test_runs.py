"""Training from end to end on crops of packaged photographs: every task, exact resuming, publishing, evaluating."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import training.__main__ as command
from models.bundle import Bundle, load_bundle, verify_bundle
from models.decision import Decision
from models.ensemble import Ensemble
from models.errors import BundleError, CheckpointError, OptionError
from models.imaging import Picture
from models.torchvision_compat import vgg
from training.config import Recipe, RecipeError
from training.config.recipe_files import load_recipe, recipe_names
from training.data.batches import Batch
from training.data.dataset_index import DataError, read_index, write_index
from training.loop.checkpoints import load_state, save_state
from training.loop.distributed import init_distributed
from training.loop.fit import BEST, LAST, METRICS, pace, read_metrics
from training.networks.imagenet import imagenet_weights
from training.runs.train import Outcome, run
from training.tasks.adversarial import AdversarialTask
from training.tasks.base import Task
from training.tasks.bins import BinsTask
from training.tasks.classification import ClassificationTask
from training.tasks.combined import CombinedTask
from training.tasks.expert import ExpertTask
from training.tasks.joint import JointTask
from training.tasks.regression import RegressionTask

SMALL = ("data.size=64", "schedule.sizes=[[1.0, 64]]", "schedule.validation_size=64")
COMPACT = ('task.trunk="compact"', 'task.weights="everyday"')
PIX2PIX = (
    'categories=["cat"]', 'data.groups={cat=["cat"], food=["food"], general=["general"]}',
    "task.arguments={width=8, depth=6}", "task.discriminator_width=8", *SMALL,
)  # fmt: skip
CHANGES = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]')


@pytest.fixture(scope="module")
def runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished smoke runs of the bundle's recipes."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("everyday-trunk", "everyday-wide", "everyday-close", "everyday-general"):
        assert names(run(load_recipe(name, CHANGES, smoke=True), manifest, folder)) == [name]
    for name in ("everyday-experts", "everyday-refined"):
        experts = run(load_recipe(name, (*CHANGES, 'categories=["cat", "food"]'), smoke=True), manifest, folder)
        assert names(experts) == [f"{name}/cat", f"{name}/food"]
    return folder


def names(outcomes: Iterable[Outcome]) -> list[str]:
    """The names of runs that all went well."""
    ended = list(outcomes)
    assert [outcome.problem for outcome in ended] == [""] * len(ended)
    return [outcome.name for outcome in ended]


def state(folder: Path) -> bytes:
    return (folder / LAST).read_bytes()


def test_a_run_leaves_checkpoints_metrics_and_sheets(runs: Path) -> None:
    folder = runs / "everyday-trunk"
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert {"painting", "naming", "score", "psnr_gain", "colorfulness", "delta_e", "top1", "top3"} <= set(rows[0])
    assert {"tiny_painting", "tiny_naming"} <= set(rows[1])
    assert (folder / BEST).is_file()
    assert len(list((folder / "sheets").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("name", "task", "changes"),
    [
        ("everyday-trunk", JointTask, ("data.tiny_interval=2",)),
        ("everyday-close", JointTask, ("data.tiny_interval=2",)),
        ("everyday-experts", ExpertTask, ('categories=["cat"]',)),
        ("everyday-refined", ExpertTask, ('categories=["cat"]',)),
        ("siswanto-cnn", RegressionTask, ('categories=["cat"]', *SMALL)),
        ("hultgren-dropout", RegressionTask, (*COMPACT, *SMALL)),
        ("pix2pix-classes", AdversarialTask, PIX2PIX),
        ("li-rebalanced", BinsTask, ()),
        ("piefke-combined-dropout", CombinedTask, ("task.size=64", *SMALL)),
        ("siswanto-resnet50", ClassificationTask, ('task.weights=""', "task.frozen=false", "data.groups={}", *SMALL)),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(
    name: str,
    task: type[Task],
    changes: tuple[str, ...],
    manifest: Path,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load_recipe(name, (*CHANGES, *changes), smoke=True)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        for base in {"everyday-trunk", "everyday-wide", "everyday-close", "everyday-experts"} - {name}:  # what others go on from
            shutil.copytree(runs / base, folder / base)
    (run_name,) = names(run(recipe, manifest, straight))
    steps: list[int] = []
    original = task.step

    def interrupted(self: Task, batch: Batch, pace: float) -> dict[str, float]:
        steps.append(1)
        if len(steps) == 4:  # after the checkpoint of step 2, and one more
            raise KeyboardInterrupt
        return original(self, batch, pace)

    monkeypatch.setattr(task, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run(recipe, manifest, stopped))
    assert [row["step"] for row in read_metrics(stopped / run_name)] == [2]
    with (stopped / run_name / METRICS).open("a") as file:
        file.write('{"step": 3, "pain')  # killed while it wrote a line
    list(run(recipe, manifest, stopped))
    assert len(steps) == 4 + 2
    for file_name in (LAST, BEST):
        assert (stopped / run_name / file_name).read_bytes() == (straight / run_name / file_name).read_bytes()
    rows = [
        [{**row, "pictures_per_second": 0, "seconds": 0} for row in read_metrics(folder / run_name)]
        for folder in (straight, stopped)
    ]
    assert rows[0] == rows[1]


def test_a_run_of_another_recipe_or_data_is_not_gone_on_with(manifest: Path, runs: Path) -> None:
    before = state(runs / "everyday-trunk")
    with pytest.raises(CheckpointError, match="everyday-trunk has a run of another recipe: begin anew with --restart"):
        list(run(load_recipe("everyday-trunk", (*CHANGES, "seed=7"), smoke=True), manifest, runs))
    with pytest.raises(CheckpointError, match="another recipe and data"):
        list(run(load_recipe("everyday-trunk", (*CHANGES, "data.limit=12"), smoke=True), manifest, runs))
    assert state(runs / "everyday-trunk") == before


def test_a_finished_run_is_not_trained_again(manifest: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JointTask, "step", lambda *_: pytest.fail("it was trained again"))
    before = state(runs / "everyday-trunk")
    (outcome,) = run(load_recipe("everyday-trunk", CHANGES, smoke=True), manifest, runs)
    assert "top1" in outcome.scores
    assert state(runs / "everyday-trunk") == before


def test_experts_leave_the_trunk_alone_and_keep_only_their_own_weights(runs: Path) -> None:
    tensors, meta = load_state(runs / "everyday-experts" / "cat" / BEST)
    assert meta["category"] == "cat"
    assert all(name.startswith("expert.") for name in tensors)
    base, _ = load_state(runs / "everyday-close" / BEST)
    assert not torch.equal(tensors["expert.logits.weight"], base["expert.logits.weight"])


def test_an_expert_is_refined_against_an_adversary_that_is_not_kept(manifest: Path, runs: Path, tmp_path: Path) -> None:
    before, after = (load_state(runs / name / "cat" / BEST)[0] for name in ("everyday-experts", "everyday-refined"))
    assert before.keys() == after.keys()
    assert not torch.equal(before["expert.logits.weight"], after["expert.logits.weight"])
    rows = list(read_metrics(runs / "everyday-refined" / "cat"))
    assert rows
    assert all(0 < row[loss] < 3 for row in rows for loss in ("fooling", "judging"))
    shutil.copytree(runs, tmp_path / "runs")
    tensors, meta = load_state(runs / "everyday-experts" / "cat" / BEST)
    save_state(tmp_path / "runs" / "everyday-experts" / "cat" / BEST, tensors, {**meta, "step": 3})
    same = load_recipe("everyday-refined", (*CHANGES, 'categories=["cat"]'), smoke=True)
    (outcome,) = run(same, manifest, tmp_path / "runs")
    assert "has a run of another start" in outcome.problem
    tensors, meta = load_state(runs / "everyday-close" / BEST)
    save_state(tmp_path / "runs" / "everyday-close" / BEST, tensors, {**meta, "step": 3})
    refined = load_recipe("everyday-refined", (*CHANGES, 'categories=["cat"]', "seed=7"), smoke=True)
    (outcome,) = run(refined, manifest, tmp_path / "runs")
    assert "cat was fine-tuned from another everyday-close: train it again with --restart" in outcome.problem


def test_a_joint_run_goes_on_from_another_one_and_leaves_its_first_stages_alone(manifest: Path, runs: Path, tmp_path: Path) -> None:
    before, after = (load_state(runs / name / BEST)[0] for name in ("everyday-trunk", "everyday-wide"))
    assert before.keys() == after.keys()
    frozen = {name for name in before if name.startswith(tuple(f"trunk.features.{layer}." for layer in range(8)))}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert frozen
    assert not frozen & changed
    assert "trunk.features.8.weight" in changed
    assert {name.split(".")[0] for name in changed} == {"trunk", "expert", "head"}
    with pytest.raises(RecipeError, match="task.frozen is 2, and nothing has trained these stages: give task.start"):
        list(run(load_recipe("everyday-wide", (*CHANGES, "task.start="), smoke=True), manifest, tmp_path))
    shutil.copytree(runs / "everyday-experts" / "cat", tmp_path / "everyday-trunk")
    with pytest.raises(RecipeError, match="everyday-trunk is not a run of the task `joint`"):
        list(run(load_recipe("everyday-wide", CHANGES, smoke=True), manifest, tmp_path))


def test_a_run_may_end_before_its_schedule_does(manifest: Path, runs: Path, tmp_path: Path) -> None:
    recipe = load_recipe("everyday-trunk", (*CHANGES, "schedule.stop_at=2"), smoke=True)
    (outcome,) = run(recipe, manifest, tmp_path)
    (row,) = read_metrics(tmp_path / "everyday-trunk")
    whole = next(read_metrics(runs / "everyday-trunk"))
    assert row["step"] == whole["step"] == 2
    assert row["painting"] == whole["painting"]  # at the pace of the whole schedule
    before = state(tmp_path / "everyday-trunk")
    assert [again.scores for again in run(recipe, manifest, tmp_path)] == [outcome.scores]
    assert state(tmp_path / "everyday-trunk") == before


@pytest.fixture(scope="module")
def published(manifest: Path, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the smoke runs, made by the command."""
    out = tmp_path_factory.mktemp("bundles") / "everyday"
    publish("bundle-everyday", manifest, runs, out)
    return out


def test_a_published_bundle_is_whole_and_routes_to_its_experts(published: Path) -> None:
    assert verify_bundle(published) == []
    bundle = load_bundle(published)
    assert bundle.router.choices == ("cat", "flower", "food", "general")
    cards = bundle.manifest.experts
    assert all(bundle.manifest.categories[name] == name for name in cards)
    assert {card.file for card in cards.values()} == {path.name for path in published.glob("*.safetensors")} - {
        "trunk.safetensors", "router.safetensors",
    }  # fmt: skip
    assert all(card.scores["validation_delta_e94"] > 0 for name, card in cards.items() if name != "general")


def test_a_fresh_bundle_is_evaluated(published: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = CliRunner().invoke(command.app, ["evaluate", str(published), "--data", str(manifest), "--out", str(out)])
    assert result.exception is None, result.exception
    numbers = json.loads((out / "report.json").read_text())
    assert numbers["ways"]["gray"]["psnr_gain"] == [0, 0, 0]
    assert numbers["routing"]["routed"]["top1"][0] <= numbers["routing"]["routed"]["top3"][0] <= 1
    assert set(numbers["categories"]) == {"cat", "food", "flower", "general"}


def publish(recipe: str, manifest: Path, runs: Path, out: Path, *changes: str) -> None:
    arguments = ["publish", recipe, "--smoke", "--data", str(manifest), "--runs", str(runs), "--out", str(out)]
    arguments += [part for change in (*CHANGES, *changes) for part in ("--set", change)]
    result = CliRunner().invoke(command.app, arguments)
    if result.exception is not None:
        raise result.exception


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_publishing_again_keeps_the_card_beside_the_weights(published: Path, manifest: Path, runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(published, folder)
    (folder / "CARD.md").write_text("who may be misrepresented")
    (folder / "stale.safetensors").write_bytes(b"of an expert that is gone")
    publish("bundle-everyday", manifest, runs, folder)
    assert contents(folder) == {**contents(published), "CARD.md": b"who may be misrepresented"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_nothing_is_lost_when_publishing_fails(
    published: Path, manifest: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(published, folder)
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr("training.publishing.publish.load_bundle", lambda _: (_ for _ in ()).throw(BundleError("it does not load")))
        with pytest.raises(BundleError, match="does not load"):
            publish("bundle-everyday", manifest, runs, folder)
    rename, moves = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 2:  # the old folder is out of the way, and the new one not yet there
            raise OSError("disk full")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(OSError, match="disk full"):
            publish("bundle-everyday", manifest, runs, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_is_no_bundle_is_not_replaced(published: Path, manifest: Path, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("letters")
    with pytest.raises(BundleError, match="is no bundle"):
        publish("bundle-everyday", manifest, runs, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "letters"


def test_what_does_not_belong_together_is_not_published(manifest: Path, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train the recipe that makes it first"):
        publish("bundle-everyday", manifest, tmp_path, tmp_path / "out")
    with pytest.raises(CheckpointError, match="has no trunk"):
        publish("bundle-everyday", manifest, runs, tmp_path / "out", 'base="everyday-experts/cat"')
    other = tmp_path / "runs"
    shutil.copytree(runs, other)
    tensors, meta = load_state(other / "everyday-close" / BEST)
    save_state(other / "everyday-close" / BEST, tensors, {**meta, "step": 3})
    with pytest.raises(CheckpointError, match="fine-tuned from another everyday-close"):
        publish("bundle-everyday", manifest, other, tmp_path / "out")
    entries = [replace(entry, category="tiger" if entry.category == "cat" else entry.category) for entry in read_index(manifest)]
    write_index(entries, tmp_path / "manifest.csv")
    with pytest.raises(DataError, match=r"trained on the categories cat, .*manifest has flower, food, tiger"):
        publish("bundle-everyday", tmp_path / "manifest.csv", runs, tmp_path / "out")


@pytest.fixture(scope="module")
def zero_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tensors of torchvision's VGG-16, all zero: every label is as likely as the others."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg.vgg16(init_weights=False).state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, path)
    return path


def imagenet_decision(out: Path, manifest: Path, runs: Path, router: str) -> tuple[Bundle, Decision]:
    """A bundle with that router, and where it sends a gray picture."""
    publish("bundle-everyday", manifest, runs, out, f'router={{classifier="imagenet", {router}}}')
    bundle = load_bundle(out)
    return bundle, Ensemble(bundle).predict(Picture(np.full((50, 60), 90, np.uint8), None, "PNG"))[1]


def test_a_bundle_may_be_routed_by_imagenet_weights_from_a_file(
    zero_weights: Path, manifest: Path, runs: Path, tmp_path: Path
) -> None:
    bundle, decision = imagenet_decision(tmp_path / "sum", manifest, runs, f'weights="{zero_weights}", threshold=0.1')
    assert {"dog", "cat", "food", "general"} <= set(bundle.router.choices)
    assert bundle.manifest.trunks["vgg16"].working_size == 224
    assert decision.reason == "unmapped"  # all labels are alike, and most are of no category
    assert decision.top[1].category == "dog"
    assert decision.top[1].probability == pytest.approx(0.118, abs=1e-3)


def test_a_bundle_may_be_routed_by_paper_004s_rule(zero_weights: Path, manifest: Path, runs: Path, tmp_path: Path) -> None:
    rule = 'mapping="animal-person-vehicle", score="max", threshold=0.05, fallback="person"'
    bundle, decision = imagenet_decision(tmp_path / "max", manifest, runs, f'weights="{zero_weights}", {rule}')
    assert bundle.router.categories == ("animal", "person", "vehicle")
    assert (decision.category, decision.fell_back, decision.reason) == ("person", True, "below_threshold")


def test_imagenet_weights_that_are_not_what_they_should_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no pickle")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, message in (
        ("nowhere.safetensors", "could not be had"),
        ("bad.pth", "could not be had"),
        ("other.safetensors", "does not hold"),
    ):
        with pytest.raises(CheckpointError, match=message):
            imagenet_weights("vgg16", tmp_path / name)


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("bundle-")])
def test_shipped_recipes_are_valid_and_open_with_their_command(name: str) -> None:
    assert isinstance(load_recipe(name), Recipe)
    text = (resources.files("training") / "recipes" / f"{name}.toml").read_text()
    assert f"chromaroute-train train {name} " in text
    (expected,) = re.findall(r"Expected: (.*)", text)
    assert re.search(r"minute|hour|half an hour|second", expected)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("everyday-trunk", ("task.namming=1",), "task.joint.namming: Extra inputs"),
        ("everyday-trunk", ("schedule.steps=-1",), "schedule.steps"),
        ("everyday-trunk", ("schedule",), "write a.b=value"),
        ("nowhere", (), "one of bundle-everyday, bundle-photos64, bundle-pix2pix"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_explained(name: str, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, changes)


def test_wrong_devices_categories_and_families_are_explained(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="device is 'abacus'"):
        init_distributed("abacus")
    with pytest.raises(RecipeError, match="'car'"):
        list(run(load_recipe("siswanto-cnn", (*CHANGES, 'categories=["car"]'), smoke=True), manifest, tmp_path))
    with pytest.raises(RecipeError, match="100 px: give multiples of 32"):
        list(run(load_recipe("everyday-trunk", (*CHANGES, "schedule.sizes=[[1.0, 100]]"), smoke=True), manifest, tmp_path))
    with pytest.raises(RecipeError, match="a regression can train iizuka, vgg_decoder, zhang"):
        list(run(load_recipe("piefke-colorize", (*CHANGES, 'task.family="vgg_expert"'), smoke=True), manifest, tmp_path))


def test_the_pace_warms_up_and_ends_at_zero() -> None:
    schedule = load_recipe("everyday-trunk").schedule
    factors = [pace(schedule, step) for step in range(schedule.steps)]
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) in range(schedule.warmup - 1, schedule.warmup + 2)
    assert factors[-1] < 1e-4
    assert schedule.size_at(0) == 96
    assert schedule.size_at(schedule.steps - 1) == 128
