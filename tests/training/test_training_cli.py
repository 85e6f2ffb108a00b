"""What a workshop needs beside the loop: runs that are killed, fail or diverge, side by side or joined, and plots."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import training.__main__ as command
from tests.server_process import wait_until
from training.cli.runs import RunsFailed
from training.config import RecipeError
from training.config.recipe_files import load_recipe
from training.data.batches import Batch
from training.data.dataset_index import DataError, read_index, write_index, write_set_aside
from training.data.packs import load_pack
from training.data.prepare import prepare
from training.loop.checkpoints import load_state
from training.loop.distributed import single_process
from training.loop.fit import BEST, LAST, METRICS, Diverged, read_metrics
from training.loop.run_lock import held
from training.runs.train import run
from training.tasks.adversarial import AdversarialTask
from training.tasks.regression import RegressionTask

ROOT = Path(__file__).parents[2]
SETS = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]')
SMALL = (*SETS, "data.size=32", "schedule.sizes=[[1.0, 32]]", "schedule.validation_size=32")
CNN = (*SMALL, "schedule.batch=4", "schedule.steps=12", "schedule.validate_every=4", "schedule.precision=float32")


def arguments(recipe: str, manifest: Path, runs: Path, *changes: str) -> list[str]:
    flags = [part for change in changes for part in ("--set", change)]
    return ["train", recipe, "--data", str(manifest), "--runs", str(runs), *flags]


def start(*words: str, module: tuple[str, ...] = ("-m", "training")) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, *module, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def invoke(*words: str) -> str:
    result = CliRunner().invoke(command.app, list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_run_that_was_killed_ends_with_the_same_bits(manifest: Path, tmp_path: Path) -> None:
    changes = (*CNN, 'categories=["cat"]', "schedule.steps=60", "schedule.validate_every=3")
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    with start(*arguments("siswanto-cnn", manifest, straight, *changes)) as whole:
        assert whole.wait() == 0, whole.stdout and whole.stdout.read()
    with start(*arguments("siswanto-cnn", manifest, killed, *changes)) as first:
        wait_until(lambda: len(list(read_metrics(killed / "siswanto-cnn" / "cat"))) >= 2)
        first.send_signal(signal.SIGKILL)
    done = [row["step"] for row in read_metrics(killed / "siswanto-cnn" / "cat")]
    assert done[-1] < 60
    with start(*arguments("siswanto-cnn", manifest, killed, *changes), "--resume") as second:
        assert second.wait() == 0, second.stdout and second.stdout.read()
    for name in (LAST, BEST):
        one, other = (folder / "siswanto-cnn" / "cat" / name for folder in (straight, killed))
        assert one.read_bytes() == other.read_bytes()
    assert [row["step"] for row in read_metrics(killed / "siswanto-cnn" / "cat")] == list(range(3, 61, 3))


def test_restarting_begins_anew_and_keeps_what_was_there(manifest: Path, tmp_path: Path) -> None:
    words = arguments("siswanto-cnn", manifest, tmp_path, *CNN, 'categories=["cat"]')
    invoke(*words)
    folder = tmp_path / "siswanto-cnn"
    (folder / "cat" / "note.txt").write_text("mine")
    invoke(*words, "--restart", "--set", "seed=7")
    assert not (folder / "cat" / "note.txt").exists()
    assert [path.read_text() for path in folder.glob(".cat.*/note.txt")] == ["mine"]
    assert load_state(folder / "cat" / BEST)[1]["origin"]["recipe"]["seed"] == 7


def broken(manifest: Path, folder: Path) -> Path:
    """The manifest without validation pictures of one category."""
    path = folder / "broken.csv"
    entries = [entry for entry in read_index(manifest) if (entry.category, entry.split) != ("flower", "val")]
    write_index(entries, path)
    return path


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_category_that_fails_is_told_and_the_others_finish(parallel: int, manifest: Path, tmp_path: Path) -> None:
    words = arguments("siswanto-cnn", broken(manifest, tmp_path), tmp_path / "runs", *CNN)
    with start(*words, "--parallel", str(parallel)) as process:
        text = process.stdout.read()  # type: ignore[union-attr]
    assert process.returncode == 1
    assert "1 of the runs failed, the others are finished. siswanto-cnn/flower: " in text
    assert "there are no pictures of 'flower' in a split that is needed" in text
    assert "Traceback" not in text
    for category in ("cat", "food"):
        assert f"siswanto-cnn/{category}: " in text
        assert [row["step"] for row in read_metrics(tmp_path / "runs" / "siswanto-cnn" / category)] == [4, 8, 12]
    assert not (tmp_path / "runs" / "siswanto-cnn" / "flower").exists()


def test_stopping_a_parallel_training_stops_its_processes_and_starts_no_more(manifest: Path, tmp_path: Path) -> None:
    words = arguments("siswanto-cnn", manifest, tmp_path, *CNN, "schedule.steps=100000")
    with start(*words, "--parallel", "2") as process:
        metrics = [tmp_path / "siswanto-cnn" / name / METRICS for name in ("cat", "flower")]
        wait_until(lambda: all(path.is_file() for path in metrics))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    sizes = [path.stat().st_size for path in metrics]
    with held(tmp_path / "siswanto-cnn" / "cat", single_process()):  # nobody trains it any more
        assert [path.stat().st_size for path in metrics] == sizes
    assert not (tmp_path / "siswanto-cnn" / "food").exists()


def test_a_run_is_trained_by_one_process_at_a_time(manifest: Path, tmp_path: Path) -> None:
    words = arguments("siswanto-cnn", manifest, tmp_path, *CNN, 'categories=["cat"]')
    with held(tmp_path / "siswanto-cnn" / "cat", single_process()), pytest.raises(RunsFailed, match="trained by another process"):
        invoke(*words)
    assert "siswanto-cnn/cat: " in invoke(*words)


def test_a_recipe_that_no_picture_is_for_is_explained(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training pictures in the sets photos; it has photographs, tiny"):
        list(run(load_recipe("siswanto-cnn"), manifest, tmp_path))


def test_other_validation_pictures_are_another_run(manifest: Path, tmp_path: Path) -> None:
    recipe = load_recipe("siswanto-cnn", (*CNN, 'categories=["cat"]'))
    list(run(recipe, manifest, tmp_path))
    path = tmp_path / "other.csv"
    write_index([entry for entry in read_index(manifest) if (entry.category, entry.split) != ("food", "val")], path)
    (outcome,) = run(recipe, path, tmp_path)
    assert "has a run of another validation" in outcome.problem


def test_a_picture_that_changed_since_it_was_prepared_is_not_trained_on(category_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(category_folders, folder)
    write_index(prepare(folder).entries, tmp_path / "manifest.csv")
    shutil.copy(folder / "food" / "03.png", folder / "cat" / "03.png")
    for content in (None, b"broken"):
        if content:
            (folder / "cat" / "03.png").write_bytes(content)
        with pytest.raises(DataError, match=r"cat/03.png is not the picture any more"):
            invoke(*arguments("piefke-colorize", tmp_path / "manifest.csv", tmp_path, *CNN))
    assert list((tmp_path / "packs").iterdir()) == []


def test_one_content_in_two_sets_is_packed_for_both(manifest: Path, tmp_path: Path) -> None:
    entries = [entry for entry in read_index(manifest) if entry.set == "photographs"][:4]
    both = [*entries, *(replace(entry, set="other") for entry in entries)]
    pack = load_pack(both, tuple(sorted({entry.category for entry in both})), 32, tmp_path)
    assert len(pack) == 8
    assert all(row.std() > 0 for row in pack.rows(np.arange(8)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed=-1", "seed"), ("schedule.sizes=[]", "schedule.sizes"), ("schedule.sizes=[[1.0, -64]]", "schedule.sizes"),
        ("schedule.betas=[2, 2]", "schedule.betas"), ('name="../../out"', "name"), ("data.size=100000", "data.size"),
    ],
)  # fmt: skip
def test_values_that_no_run_can_have_are_refused(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"not valid: {message}"):
        load_recipe("siswanto-cnn", (change,))


def test_recipes_that_are_like_one_another_in_a_circle_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'like = "{two}"')
    two.write_text(f'like = "{one}"')
    with pytest.raises(RecipeError, match="like one another in a circle"):
        load_recipe(str(one))


def test_foreign_lines_in_the_metrics_do_not_matter(manifest: Path, tmp_path: Path) -> None:
    invoke(*arguments("siswanto-cnn", manifest, tmp_path, *CNN, 'categories=["cat"]'))
    folder = tmp_path / "siswanto-cnn" / "cat"
    with (folder / METRICS).open("ab") as file:
        file.write(b'12\n{}\n\xff\xfe{"st')
    assert [row["step"] for row in read_metrics(folder)] == [4, 8, 12]
    assert "curves.png" in invoke("plot", str(folder))


def test_only_recipes_of_many_runs_go_side_by_side(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="li-bins trains one network"):
        invoke(*arguments("li-bins", manifest, tmp_path, *SETS), "--parallel", "2")


def test_two_processes_train_as_one_does(manifest: Path, tmp_path: Path) -> None:
    words = arguments("siswanto-cnn", manifest, tmp_path / "two", *CNN, 'categories=["cat"]')
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training")
    with start(*words, module=launcher) as process:
        text = process.stdout.read()  # type: ignore[union-attr]
    assert process.returncode == 0, text
    invoke(*arguments("siswanto-cnn", manifest, tmp_path / "one", *CNN, 'categories=["cat"]'))
    one, two = (list(read_metrics(tmp_path / name / "siswanto-cnn" / "cat")) for name in ("one", "two"))
    assert [row["step"] for row in two] == [4, 8, 12]
    for ours, theirs in zip(one, two, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=0.01)
        assert theirs["val_loss"] == pytest.approx(ours["val_loss"], rel=0.01)
    assert text.count("siswanto-cnn/cat: ") >= 1


def test_a_batch_that_cannot_be_dealt_out_is_explained(manifest: Path) -> None:
    batch = Batch(torch.zeros(5, 1, 2, 2), torch.zeros(5, 2, 2, 2), torch.arange(5))
    with pytest.raises(RecipeError, match="5 cannot be dealt to 2"):
        replace(single_process(), size=2).rows(batch)
    assert replace(single_process(), size=5, rank=3).rows(batch).labels.tolist() == [3]


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = RegressionTask.step, []

    def bad(self: RegressionTask, batch: Batch, pace: float) -> dict[str, float]:
        steps.append(1)
        return {"loss": float("nan")} if len(steps) == 6 else original(self, batch, pace)

    monkeypatch.setattr(RegressionTask, "step", bad)
    with pytest.raises(Diverged, match="loss is nan at step 5. The checkpoint before it is kept: lower schedule.learning_rate"):
        list(run(load_recipe("piefke-colorize", (*CNN, "schedule.batch=4")), manifest, tmp_path))
    assert load_state(tmp_path / "piefke-colorize" / LAST)[1]["step"] == 4


PIX2PIX = (
    *CNN, "each=false", "data.groups={}", "task.arguments={width=4, depth=5}", "task.discriminator_width=4",
    "schedule.snapshot_every=0",
)  # fmt: skip


def test_a_generator_that_collapses_and_a_discriminator_that_wins_are_told(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = AdversarialTask.step

    def lost(self: AdversarialTask, batch: Batch, pace: float) -> dict[str, float]:
        return {**original(self, batch, pace), "judging": 0.001}

    monkeypatch.setattr(AdversarialTask, "step", lost)
    monkeypatch.setattr(AdversarialTask, "paint", lambda self, L: torch.full((len(L), 2, 32, 32), 9.0))
    list(run(load_recipe("pix2pix-classes", PIX2PIX), manifest, tmp_path))
    (row, *_) = read_metrics(tmp_path / "pix2pix-classes")
    assert [text.split(" (")[0].split(":")[0] for text in row["concerns"]] == [
        "the discriminator has won", "the generator has collapsed or not begun",
    ]  # fmt: skip
    assert "collapsed" in capsys.readouterr().out
    report = (tmp_path / "pix2pix-classes" / "report.md").read_text()
    assert report.count("the discriminator has won") == 3


def test_a_generator_that_does_well_raises_no_concern(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"judging": 0.4, "spread": 0.6}, {"judging": 0.01, "spread": 0.6}, {"judging": 0.4, "spread": 0.05}]
    task = AdversarialTask.__new__(AdversarialTask)
    assert [len(task.concerns(row)) for row in rows] == [0, 1, 1]


def test_a_runs_report_counts_what_was_trained_on_and_what_was_set_aside(manifest: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_index(read_index(manifest), path)
    write_set_aside({"gray": ["a.png", "b.png"], "duplicated": ["c.png"]}, path)
    invoke(*arguments("siswanto-cnn", path, tmp_path, *CNN, 'categories=["cat"]'))
    report = (tmp_path / "siswanto-cnn" / "cat" / "report.md").read_text()
    assert "12 steps of 4 pictures in " in report
    assert "4 pictures were trained on: 4 cat." in report
    assert "Set aside when the manifest was made: 1 duplicated, 2 gray." in report
    assert '"steps": 12' in report


def test_plots_are_drawn_again_from_metrics_and_sheets(manifest: Path, tmp_path: Path) -> None:
    invoke(*arguments("piefke-combined", manifest, tmp_path, *CNN, "task.size=32"))
    folder = tmp_path / "piefke-combined"
    names = ("curves.png", "confusion.png", "progress.png")
    for name in names:
        (folder / name).unlink()
    assert invoke("plot", str(folder)).split() == [str(folder / name) for name in names]
    for name in names:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert np.array(rows[0]["confusion"]["counts"]).sum() == 16  # all validation pictures
    events = list((folder / "tensorboard").glob("events.*"))
    assert len(events) == 1
    assert b"psnr_gain" in events[0].read_bytes()


def test_snapshots_are_kept_as_often_as_the_schedule_says(manifest: Path, tmp_path: Path) -> None:
    invoke(*arguments("siswanto-cnn", manifest, tmp_path, *CNN, 'categories=["cat"]', "schedule.snapshot_every=5"))
    found = sorted(path.name for path in (tmp_path / "siswanto-cnn" / "cat" / "snapshots").iterdir())
    assert found == ["000005.safetensors", "000010.safetensors"]


def test_runs_are_set_side_by_side_with_the_errors_of_their_categories(manifest: Path, tmp_path: Path) -> None:
    changes = (*SMALL, "data.groups={}", "schedule.steps=2", "schedule.validate_every=1", "schedule.batch=4")
    for seed in (1, 2):
        invoke(*arguments("piefke-classify", manifest, tmp_path / str(seed), *changes, "task.arguments={size=32}", f"seed={seed}"))
    text = invoke("compare", *(str(tmp_path / str(seed) / "piefke-classify") for seed in (1, 2)))
    assert re.search(r"top-3 error +┃ 1/piefke-classify +┃ 2/piefke-classify", text)
    for category in ("cat", "flower", "food", "general"):
        assert re.search(rf"{category} +│ [01]\.\d+", text)


def test_every_expert_paints_every_category(manifest: Path, tmp_path: Path) -> None:
    invoke(*arguments("siswanto-cnn", manifest, tmp_path, *CNN, 'categories=["cat", "food"]'))
    changes = [part for change in CNN for part in ("--set", change)]
    text = invoke("cross", "siswanto-cnn", "--data", str(manifest), "--runs", str(tmp_path), *changes)
    assert len(re.findall(r"^│ (?:cat|food) +│ +\d+\.\d+ │ +\d+\.\d+ │$", text, re.MULTILINE)) == 2
    assert (tmp_path / "siswanto-cnn" / "crossing.png").is_file()
