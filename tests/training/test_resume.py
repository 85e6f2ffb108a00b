"""Interrupted runs: resumed exactly, refused for another recipe or other data, or started again."""

import shutil
import signal
from pathlib import Path

import pytest

from models.errors import CheckpointError
from tests.cli_runner import invoke, start
from tests.server_process import wait_until
from tests.small_runs import AT_64_PX, SETS, TWELVE_STEPS, run_names, train_arguments
from training.config.recipe_files import load_recipe
from training.data.batches import Batch
from training.data.dataset_index import read_index, write_index
from training.loop.checkpoints import load_state
from training.loop.run_folder import BEST, LAST, METRICS, read_metrics
from training.runs.train import train_recipe
from training.tasks.adversarial import AdversarialTask
from training.tasks.base import Task
from training.tasks.bins import BinsTask
from training.tasks.classification import ClassificationTask
from training.tasks.combined import CombinedTask
from training.tasks.expert import ExpertTask
from training.tasks.joint import JointTask
from training.tasks.regression import RegressionTask

pytestmark = pytest.mark.slow

CAT = 'categories=["cat"]'
EVERYDAY_TRUNK = ('task.trunk="deep"', 'task.weights="everyday"')
PIX2PIX = (
    CAT, 'data.groups={cat=["cat"], food=["food"], general=["general"]}', "task.arguments={width=8, depth=6}",
    "task.discriminator_width=8", *AT_64_PX,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "task", "changes"),
    [
        ("everyday-trunk", JointTask, ("data.tiny_interval=2",)),
        ("everyday-close", JointTask, ("data.tiny_interval=2",)),
        ("everyday-experts", ExpertTask, (CAT,)),
        ("everyday-refined", ExpertTask, (CAT,)),
        ("siswanto-cnn", RegressionTask, (CAT, *AT_64_PX)),
        ("hultgren-dropout", RegressionTask, (*EVERYDAY_TRUNK, *AT_64_PX)),
        ("pix2pix-classes", AdversarialTask, PIX2PIX),
        ("li-rebalanced", BinsTask, ()),
        ("piefke-combined-dropout", CombinedTask, ("task.size=64", *AT_64_PX)),
        ("siswanto-resnet50", ClassificationTask, ('task.weights=""', "task.frozen=false", "data.groups={}", *AT_64_PX)),
    ],
)
def test_interrupted_run_resumes_bit_for_bit(
    name: str,
    task: type[Task],
    changes: tuple[str, ...],
    manifest: Path,
    everyday_runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load_recipe(name, (*SETS, *changes), smoke=True)
    straight, interrupted = tmp_path / "straight", tmp_path / "interrupted"
    for folder in (straight, interrupted):
        for base in {"everyday-trunk", "everyday-wide", "everyday-close", "everyday-experts"} - {name}:
            shutil.copytree(everyday_runs / base, folder / base)
    (run_name,) = run_names(train_recipe(recipe, manifest, straight))
    steps: list[int] = []
    original = task.step

    def step(self: Task, batch: Batch, lr_factor: float) -> dict[str, float]:
        steps.append(1)
        if len(steps) == 4:  # after the checkpoint of step 2, and one more
            raise KeyboardInterrupt
        return original(self, batch, lr_factor)

    monkeypatch.setattr(task, "step", step)
    with pytest.raises(KeyboardInterrupt):
        list(train_recipe(recipe, manifest, interrupted))
    assert [row["step"] for row in read_metrics(interrupted / run_name)] == [2]
    with (interrupted / run_name / METRICS).open("a") as file:
        file.write('{"step": 3, "colo')  # as if killed while it wrote a line
    list(train_recipe(recipe, manifest, interrupted))
    assert len(steps) == 4 + 2
    for file_name in (LAST, BEST):
        assert (interrupted / run_name / file_name).read_bytes() == (straight / run_name / file_name).read_bytes()
    rows = [
        [{**row, "pictures_per_second": 0, "seconds": 0} for row in read_metrics(folder / run_name)]
        for folder in (straight, interrupted)
    ]
    assert rows[0] == rows[1]


def test_killed_process_resumes_bit_for_bit(manifest: Path, tmp_path: Path) -> None:
    changes = (*TWELVE_STEPS, CAT, "schedule.steps=60", "schedule.validate_every=3")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    with start(*train_arguments("siswanto-cnn", manifest, straight, *changes)) as whole:
        assert whole.wait() == 0, whole.stdout and whole.stdout.read()
    with start(*train_arguments("siswanto-cnn", manifest, killed, *changes)) as first:
        wait_until(lambda: len(list(read_metrics(killed / "siswanto-cnn" / "cat"))) >= 2)
        first.send_signal(signal.SIGKILL)
    done = [row["step"] for row in read_metrics(killed / "siswanto-cnn" / "cat")]
    assert done[-1] < 60
    with start(*train_arguments("siswanto-cnn", manifest, killed, *changes), "--resume") as second:
        assert second.wait() == 0, second.stdout and second.stdout.read()
    for name in (LAST, BEST):
        one, other = (folder / "siswanto-cnn" / "cat" / name for folder in (straight, killed))
        assert one.read_bytes() == other.read_bytes()
    assert [row["step"] for row in read_metrics(killed / "siswanto-cnn" / "cat")] == list(range(3, 61, 3))


def test_run_with_another_recipe_or_other_data_is_not_resumed(manifest: Path, everyday_runs: Path) -> None:
    before = (everyday_runs / "everyday-trunk" / LAST).read_bytes()
    with pytest.raises(CheckpointError, match="everyday-trunk contains a run with another recipe: start again with --restart"):
        list(train_recipe(load_recipe("everyday-trunk", (*SETS, "seed=7"), smoke=True), manifest, everyday_runs))
    with pytest.raises(CheckpointError, match="another recipe and data"):
        list(train_recipe(load_recipe("everyday-trunk", (*SETS, "data.limit=12"), smoke=True), manifest, everyday_runs))
    assert (everyday_runs / "everyday-trunk" / LAST).read_bytes() == before


def test_run_with_other_validation_pictures_is_not_resumed(manifest: Path, tmp_path: Path) -> None:
    recipe = load_recipe("siswanto-cnn", (*TWELVE_STEPS, CAT))
    list(train_recipe(recipe, manifest, tmp_path))
    path = tmp_path / "other.csv"
    write_index([entry for entry in read_index(manifest) if (entry.category, entry.split) != ("food", "val")], path)
    (outcome,) = train_recipe(recipe, path, tmp_path)
    assert "contains a run with another validation" in outcome.problem


def test_finished_run_is_not_trained_again(manifest: Path, everyday_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JointTask, "step", lambda *_: pytest.fail("it was trained again"))
    before = (everyday_runs / "everyday-trunk" / LAST).read_bytes()
    (outcome,) = train_recipe(load_recipe("everyday-trunk", SETS, smoke=True), manifest, everyday_runs)
    assert "top1" in outcome.scores
    assert (everyday_runs / "everyday-trunk" / LAST).read_bytes() == before


def test_stop_at_ends_a_run_early_with_the_learning_rates_of_the_whole_schedule(
    manifest: Path, everyday_runs: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("everyday-trunk", (*SETS, "schedule.stop_at=2"), smoke=True)
    (outcome,) = train_recipe(recipe, manifest, tmp_path)
    (row,) = read_metrics(tmp_path / "everyday-trunk")
    whole = next(read_metrics(everyday_runs / "everyday-trunk"))
    assert row["step"] == whole["step"] == 2
    assert row["color_loss"] == whole["color_loss"]
    before = (tmp_path / "everyday-trunk" / LAST).read_bytes()
    assert [again.scores for again in train_recipe(recipe, manifest, tmp_path)] == [outcome.scores]
    assert (tmp_path / "everyday-trunk" / LAST).read_bytes() == before


def test_restart_moves_the_existing_run_aside_and_starts_again(manifest: Path, tmp_path: Path) -> None:
    arguments = train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, CAT)
    invoke(*arguments)
    folder = tmp_path / "siswanto-cnn"
    (folder / "cat" / "note.txt").write_text("mine")
    invoke(*arguments, "--restart", "--set", "seed=7")
    assert not (folder / "cat" / "note.txt").exists()
    assert [path.read_text() for path in folder.glob(".cat.*/note.txt")] == ["mine"]
    assert load_state(folder / "cat" / BEST)[1]["origin"]["recipe"]["seed"] == 7
