"""Runs of several categories, in sequence or in parallel, and runs that several processes train together."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.cli_runner import invoke, start
from tests.server_process import wait_until
from tests.small_runs import SETS, TWELVE_STEPS, train_arguments
from training.cli.runs import RunsFailed
from training.config.section import RecipeError
from training.data.batches import Batch
from training.data.dataset_index import read_index, write_index
from training.loop.distributed import single_process
from training.loop.run_folder import METRICS, read_metrics
from training.loop.run_lock import lock_run

pytestmark = pytest.mark.slow


@pytest.fixture
def index_without_flower_validation(manifest: Path, tmp_path: Path) -> Path:
    """The dataset index without validation pictures of one category."""
    path = tmp_path / "incomplete.csv"
    write_index([entry for entry in read_index(manifest) if (entry.category, entry.split) != ("flower", "val")], path)
    return path


@pytest.mark.parametrize("parallel", [1, 2])
def test_failed_category_is_reported_and_the_others_finish(
    parallel: int, index_without_flower_validation: Path, tmp_path: Path
) -> None:
    arguments = train_arguments("siswanto-cnn", index_without_flower_validation, tmp_path / "runs", *TWELVE_STEPS)
    with start(*arguments, "--parallel", str(parallel)) as process:
        text = process.stdout.read()  # type: ignore[union-attr]
    assert process.returncode == 1
    assert "1 of the runs failed, the others are finished. siswanto-cnn/flower: " in text
    assert "there are no pictures of 'flower' in one of the splits" in text
    assert "Traceback" not in text
    for category in ("cat", "food"):
        assert f"siswanto-cnn/{category}: " in text
        assert [row["step"] for row in read_metrics(tmp_path / "runs" / "siswanto-cnn" / category)] == [4, 8, 12]
    assert not (tmp_path / "runs" / "siswanto-cnn" / "flower").exists()


def test_interrupting_parallel_training_stops_its_processes_and_starts_no_more(manifest: Path, tmp_path: Path) -> None:
    arguments = train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, "schedule.steps=100000")
    with start(*arguments, "--parallel", "2") as process:
        metrics = [tmp_path / "siswanto-cnn" / name / METRICS for name in ("cat", "flower")]
        wait_until(lambda: all(path.is_file() for path in metrics))
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
    sizes = [path.stat().st_size for path in metrics]
    with lock_run(tmp_path / "siswanto-cnn" / "cat", single_process()):  # raises if a process still trains it
        assert [path.stat().st_size for path in metrics] == sizes
    assert not (tmp_path / "siswanto-cnn" / "food").exists()


def test_run_that_another_process_trains_is_not_trained(manifest: Path, tmp_path: Path) -> None:
    arguments = train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, 'categories=["cat"]')
    folder = tmp_path / "siswanto-cnn" / "cat"
    with lock_run(folder, single_process()), pytest.raises(RunsFailed, match="trained by another process"):
        invoke(*arguments)
    assert "siswanto-cnn/cat: " in invoke(*arguments)


def test_recipe_with_one_network_cannot_be_trained_in_parallel(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="li-bins trains one network"):
        invoke(*train_arguments("li-bins", manifest, tmp_path, *SETS), "--parallel", "2")


def test_two_processes_have_the_losses_of_one(manifest: Path, tmp_path: Path) -> None:
    arguments = train_arguments("siswanto-cnn", manifest, tmp_path / "two", *TWELVE_STEPS, 'categories=["cat"]')
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training")
    with start(*arguments, launcher=launcher) as process:
        text = process.stdout.read()  # type: ignore[union-attr]
    assert process.returncode == 0, text
    invoke(*train_arguments("siswanto-cnn", manifest, tmp_path / "one", *TWELVE_STEPS, 'categories=["cat"]'))
    one, two = (list(read_metrics(tmp_path / name / "siswanto-cnn" / "cat")) for name in ("one", "two"))
    assert [row["step"] for row in two] == [4, 8, 12]
    for expected, row in zip(one, two, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.01)
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=0.01)
    assert text.count("siswanto-cnn/cat: ") >= 1


def test_batch_is_divided_evenly_among_processes() -> None:
    batch = Batch(torch.zeros(5, 1, 2, 2), torch.zeros(5, 2, 2, 2), torch.arange(5), torch.arange(5))
    with pytest.raises(RecipeError, match="5 cannot be divided among 2"):
        replace(single_process(), size=2).rows(batch)
    assert replace(single_process(), size=5, rank=3).rows(batch).labels.tolist() == [3]
