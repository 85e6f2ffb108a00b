"""A single run: the files in its folder, its pictures, its summary, its warnings, and the errors that end it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli_runner import invoke
from tests.small_runs import TWELVE_STEPS, train_arguments
from training.config.recipe_files import load_recipe
from training.data.batches import Batch
from training.data.dataset_index import DataError, read_index, write_excluded, write_index
from training.data.packs import load_pack
from training.data.prepare import prepare
from training.loop.checkpoints import load_state
from training.loop.run_folder import BEST, LAST, METRICS, read_metrics
from training.loop.run_recorder import Diverged
from training.runs.train import train_recipe
from training.tasks.adversarial import AdversarialTask
from training.tasks.regression import RegressionTask

pytestmark = pytest.mark.slow

PIX2PIX = (
    *TWELVE_STEPS, "per_category=false", "data.groups={}", "task.arguments={width=4, depth=5}", "task.discriminator_width=4",
    "schedule.snapshot_every=0",
)  # fmt: skip


def test_run_writes_checkpoints_metrics_and_sample_grids(everyday_runs: Path) -> None:
    folder = everyday_runs / "everyday-trunk"
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert {"color_loss", "class_loss", "score", "psnr_gain", "colorfulness", "delta_e", "top1", "top3"} <= set(rows[0])
    assert all({"kind_loss", "val_class_loss"} <= set(row) for row in rows)
    assert (folder / BEST).is_file()
    assert len(list((folder / "samples").glob("*.png"))) == 2


def test_snapshots_are_kept_as_often_as_the_schedule_says(manifest: Path, tmp_path: Path) -> None:
    invoke(*train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, 'categories=["cat"]', "schedule.snapshot_every=5"))
    snapshots = sorted(path.name for path in (tmp_path / "siswanto-cnn" / "cat" / "snapshots").iterdir())
    assert snapshots == ["000005.safetensors", "000010.safetensors"]


def test_summary_counts_training_pictures_and_excluded_files(manifest: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_index(read_index(manifest), path)
    write_excluded({"gray": ["a.png", "b.png"], "duplicated": ["c.png"]}, path)
    invoke(*train_arguments("siswanto-cnn", path, tmp_path, *TWELVE_STEPS, 'categories=["cat"]'))
    summary = (tmp_path / "siswanto-cnn" / "cat" / "summary.md").read_text()
    assert "12 steps of 4 pictures in " in summary
    assert "4 training pictures: 4 cat." in summary
    assert "Excluded from the dataset index: 1 duplicated, 2 gray." in summary
    assert '"steps": 12' in summary


def test_picture_that_changed_since_it_was_prepared_ends_the_run(category_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(category_folders, folder)
    write_index(prepare(folder).entries, tmp_path / "manifest.csv")
    shutil.copy(folder / "food" / "03.png", folder / "cat" / "03.png")
    for content in (None, b"broken"):
        if content:
            (folder / "cat" / "03.png").write_bytes(content)
        with pytest.raises(DataError, match=r"cat/03.png has changed since the dataset index was created"):
            invoke(*train_arguments("piefke-colorize", tmp_path / "manifest.csv", tmp_path, *TWELVE_STEPS))
    assert list((tmp_path / "packs").iterdir()) == []


def test_pack_contains_a_picture_of_two_sets_twice(manifest: Path, tmp_path: Path) -> None:
    entries = [entry for entry in read_index(manifest) if entry.set == "photographs"][:4]
    both = [*entries, *(replace(entry, set="other") for entry in entries)]
    pack = load_pack(both, tuple(sorted({entry.category for entry in both})), 32, tmp_path)
    assert len(pack) == 8
    assert all(row.std() > 0 for row in pack.rows(np.arange(8)))


def test_loss_that_is_not_a_number_ends_the_run_and_keeps_the_checkpoint(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = RegressionTask.step, []

    def step(self: RegressionTask, batch: Batch, lr_factor: float) -> dict[str, float]:
        steps.append(1)
        return {"loss": float("nan")} if len(steps) == 6 else original(self, batch, lr_factor)

    monkeypatch.setattr(RegressionTask, "step", step)
    with pytest.raises(Diverged, match="loss is nan at step 5. The checkpoint before it is kept: lower schedule.learning_rate"):
        list(train_recipe(load_recipe("piefke-colorize", TWELVE_STEPS), manifest, tmp_path))
    assert load_state(tmp_path / "piefke-colorize" / LAST)[1]["step"] == 4


def test_collapsed_generator_and_winning_discriminator_are_reported(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = AdversarialTask.step

    def step(self: AdversarialTask, batch: Batch, lr_factor: float) -> dict[str, float]:
        return {**original(self, batch, lr_factor), "discriminator_loss": 0.001}

    monkeypatch.setattr(AdversarialTask, "step", step)
    monkeypatch.setattr(AdversarialTask, "predict", lambda self, L: torch.full((len(L), 2, 32, 32), 9.0))
    list(train_recipe(load_recipe("pix2pix-classes", PIX2PIX), manifest, tmp_path))
    (row, *_) = read_metrics(tmp_path / "pix2pix-classes")
    assert [text.split(" (")[0].split(":")[0] for text in row["warnings"]] == [
        "the discriminator is too strong", "the generator has collapsed or learned nothing yet",
    ]  # fmt: skip
    assert "collapsed" in capsys.readouterr().out
    summary = (tmp_path / "pix2pix-classes" / "summary.md").read_text()
    assert summary.count("the discriminator is too strong") == 3


def test_balanced_generator_and_discriminator_raise_no_warning() -> None:
    balanced = {"discriminator_loss": 0.4, "spread": 0.6}
    rows = [balanced, {**balanced, "discriminator_loss": 0.01}, {**balanced, "spread": 0.05}]
    task = AdversarialTask.__new__(AdversarialTask)
    assert [len(task.warnings(row)) for row in rows] == [0, 1, 1]
