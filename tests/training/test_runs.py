"""Training from end to end on crops of packaged photographs: every task, exact resuming, publishing, evaluating."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import training.__main__ as command
from models.bundle import load_bundle, verify_bundle
from models.errors import CheckpointError, OptionError
from training.config import Recipe, RecipeError, load_recipe, recipe_names
from training.data.manifest import write_manifest
from training.data.prepare import prepare
from training.fit import BEST, LAST, METRICS, pace, read_metrics
from training.run import run
from training.tasks.joint import JointTask

CHANGES = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]', "data.tiny_every=0")


@pytest.fixture(scope="module")
def manifest(category_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crops, a third of them for validation and as many for testing."""
    entries = prepare(category_folders).entries
    splits = ("train", "val", "test")
    spread = [
        entry.__class__(**{**entry.__dict__, "set": "photographs", "split": splits[i % 3]}) for i, entry in enumerate(entries)
    ]
    path = tmp_path_factory.mktemp("data") / "manifest.csv"
    write_manifest(spread, path)
    return path


@pytest.fixture(scope="module")
def runs(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished smoke runs of the bundle's recipes."""
    folder = tmp_path_factory.mktemp("runs")
    assert [name for name, _ in run(load_recipe("everyday-trunk", CHANGES, smoke=True), manifest, folder)] == ["everyday-trunk"]
    experts = run(load_recipe("everyday-experts", (*CHANGES, 'categories=["cat", "food"]'), smoke=True), manifest, folder)
    assert [name for name, _ in experts] == ["everyday-experts/cat", "everyday-experts/food"]
    return folder


def state(folder: Path) -> bytes:
    return (folder / LAST).read_bytes()


def test_a_run_leaves_checkpoints_metrics_and_sheets(runs: Path) -> None:
    folder = runs / "everyday-trunk"
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert {"painting", "naming", "score", "psnr_gain", "colourfulness", "delta_e", "top1", "top3"} <= set(rows[0])
    assert (folder / BEST).is_file()
    assert len(list((folder / "sheets").glob("*.png"))) == 2


def test_an_interrupted_run_ends_with_the_same_bits(
    manifest: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("everyday-trunk", CHANGES, smoke=True)
    steps: list[int] = []
    original = JointTask.step

    def interrupted(self: JointTask, batch, pace):  # type: ignore[no-untyped-def]
        steps.append(1)
        if len(steps) == 4:  # after the checkpoint of step 2, and some more
            raise KeyboardInterrupt
        return original(self, batch, pace)

    monkeypatch.setattr(JointTask, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run(recipe, manifest, tmp_path))
    assert [row["step"] for row in read_metrics(tmp_path / "everyday-trunk")] == [2]
    list(run(recipe, manifest, tmp_path))
    assert len(steps) == 4 + 2
    assert state(tmp_path / "everyday-trunk") == state(runs / "everyday-trunk")
    assert (tmp_path / "everyday-trunk" / BEST).read_bytes() == (runs / "everyday-trunk" / BEST).read_bytes()
    again = [{**row, "pictures_per_second": 0} for row in read_metrics(tmp_path / "everyday-trunk")]
    assert again == [{**row, "pictures_per_second": 0} for row in read_metrics(runs / "everyday-trunk")]


def test_a_finished_run_is_not_trained_again(manifest: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JointTask, "step", lambda *_: pytest.fail("it was trained again"))
    before = state(runs / "everyday-trunk")
    ((_, scores),) = run(load_recipe("everyday-trunk", CHANGES, smoke=True), manifest, runs)
    assert "top1" in scores
    assert state(runs / "everyday-trunk") == before


def test_experts_leave_the_trunk_alone_and_keep_only_their_own_weights(runs: Path) -> None:
    from training.checkpoints import load_state

    tensors, meta = load_state(runs / "everyday-experts" / "cat" / BEST)
    assert meta["category"] == "cat"
    assert all(name.startswith("expert.") for name in tensors)
    base, _ = load_state(runs / "everyday-trunk" / BEST)
    assert not torch.equal(tensors["expert.logits.weight"], base["expert.logits.weight"])


@pytest.mark.parametrize(("name", "family"), [("strided-cnn", "strided_cnn"), ("pix2pix", "pix2pix")])
def test_the_papers_own_colorizers_train_per_category(name: str, family: str, manifest: Path, tmp_path: Path) -> None:
    small = ("task.arguments={width=8, depth=5}", "task.discriminator_width=8") if family == "pix2pix" else ()
    recipe = load_recipe(name, (*CHANGES, *small, 'categories=["flower"]'), smoke=True)
    ((run_name, scores),) = run(recipe, manifest, tmp_path)
    assert run_name == f"{name}/flower"
    assert scores["delta_e"] > 0
    before = state(tmp_path / run_name)
    list(run(recipe, manifest, tmp_path))
    assert state(tmp_path / run_name) == before


@pytest.fixture(scope="module")
def published(manifest: Path, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bundle of the smoke runs, made by the command."""
    out = tmp_path_factory.mktemp("bundles") / "everyday"
    changes = [part for change in CHANGES[:2] for part in ("--set", change)]
    arguments = ["publish", "bundle-everyday", "--smoke", *changes, "--data", manifest, "--runs", runs, "--out", out]
    result = CliRunner().invoke(command.app, [str(argument) for argument in arguments])
    assert result.exception is None, result.exception
    return out


def test_a_published_bundle_is_whole_and_routes_to_its_experts(published: Path) -> None:
    assert verify_bundle(published) == []
    bundle = load_bundle(published)
    assert bundle.router.choices == ("cat", "flower", "food", "general")
    assert bundle.manifest.categories["flower"] == "general"
    for name in set(bundle.manifest.experts) - {"general"}:
        scores = bundle.manifest.experts[name].scores
        assert scores["validation_delta_e94"] < scores["general_delta_e94"]


def test_evaluating_prints_and_writes_every_way_of_colouring(published: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    result = CliRunner().invoke(command.app, ["evaluate", str(published), "--data", str(manifest), "--out", str(out)])
    assert result.exception is None, result.exception
    numbers = json.loads(out.read_text())
    assert list(numbers["rows"]) == ["grey", "constant mean ab", "general", "routed", "routed, soft", "true category"]
    assert numbers["rows"]["grey"]["psnr_gain"] == 0
    assert numbers["rows"]["grey"]["delta_e_ratio"] == 1
    assert 0 <= numbers["router"]["top1"] <= numbers["router"]["top3"] <= 1
    assert set(numbers["categories"]) == {"cat", "food", "flower", "general"}
    assert "constant mean" in result.output


def test_nothing_is_replaced_when_publishing_fails(published: Path, manifest: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    arguments = ["publish", "bundle-everyday", "--smoke", "--data", str(manifest), "--runs", str(tmp_path), "--out", str(published)]
    result = CliRunner().invoke(command.app, arguments)
    assert isinstance(result.exception, CheckpointError)
    assert "train the recipe that makes it first" in str(result.exception)
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("bundle-")])
def test_shipped_recipes_are_valid_and_open_with_their_command(name: str) -> None:
    from importlib import resources

    assert isinstance(load_recipe(name), Recipe)
    text = (resources.files("training") / "recipes" / f"{name}.toml").read_text()
    assert f"chromaroute-train train {name} " in text
    assert "Expected:" in text


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("everyday-trunk", ("task.namming=1",), "task.joint.namming: Extra inputs"),
        ("everyday-trunk", ("schedule.steps=-1",), "schedule.steps"),
        ("everyday-trunk", ("schedule",), "write a.b=value"),
        ("nowhere", (), "one of bundle-everyday, everyday-experts"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_explained(name: str, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, changes)


def test_wrong_devices_categories_and_families_are_explained(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="device is 'abacus'"):
        list(run(load_recipe("everyday-trunk", CHANGES, smoke=True), manifest, tmp_path, "abacus"))
    with pytest.raises(RecipeError, match="'car'"):
        list(run(load_recipe("strided-cnn", (*CHANGES, 'categories=["car"]'), smoke=True), manifest, tmp_path))
    with pytest.raises(RecipeError, match="strided_cnn, pix2pix"):
        list(run(load_recipe("strided-cnn", (*CHANGES, 'task.family="vgg_expert"'), smoke=True), manifest, tmp_path))


def test_the_pace_warms_up_and_ends_at_zero() -> None:
    schedule = load_recipe("everyday-trunk").schedule
    factors = [pace(schedule, step) for step in range(schedule.steps)]
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) in range(schedule.warmup - 1, schedule.warmup + 2)
    assert factors[-1] < 1e-4
    assert schedule.size_at(0) == 96
    assert schedule.size_at(schedule.steps - 1) == 128
