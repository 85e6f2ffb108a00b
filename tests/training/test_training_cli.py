"""The commands that read finished runs: plot, compare and cross."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli_runner import invoke, set_options
from tests.small_runs import AT_32_PX, TWELVE_STEPS, train_arguments
from training.loop.run_folder import METRICS, read_metrics

pytestmark = pytest.mark.slow


def test_plot_redraws_curves_confusion_and_progress_from_metrics_and_sample_grids(manifest: Path, tmp_path: Path) -> None:
    invoke(*train_arguments("piefke-combined", manifest, tmp_path, *TWELVE_STEPS, "task.size=32"))
    folder = tmp_path / "piefke-combined"
    names = ("curves.png", "confusion.png", "progress.png")
    for name in names:
        (folder / name).unlink()
    assert invoke("plot", folder).split() == [str(folder / name) for name in names]
    for name in names:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert np.array(rows[0]["confusion"]["counts"]).sum() == 16  # all validation pictures
    events = list((folder / "tensorboard").glob("events.*"))
    assert len(events) == 1
    assert b"psnr_gain" in events[0].read_bytes()


def test_invalid_lines_in_the_metrics_are_ignored(manifest: Path, tmp_path: Path) -> None:
    invoke(*train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, 'categories=["cat"]'))
    folder = tmp_path / "siswanto-cnn" / "cat"
    with (folder / METRICS).open("ab") as file:
        file.write(b'12\n{}\n\xff\xfe{"st')
    assert [row["step"] for row in read_metrics(folder)] == [4, 8, 12]
    assert "curves.png" in invoke("plot", folder)


def test_compare_lists_the_errors_of_each_category(manifest: Path, tmp_path: Path) -> None:
    changes = (
        *AT_32_PX, "data.groups={}", "task.arguments={size=32}", "schedule.steps=2", "schedule.validate_every=1",
        "schedule.batch=4",
    )  # fmt: skip
    for seed in (1, 2):
        invoke(*train_arguments("piefke-classify", manifest, tmp_path / str(seed), *changes, f"seed={seed}"))
    text = invoke("compare", *(tmp_path / str(seed) / "piefke-classify" for seed in (1, 2)))
    assert re.search(r"top-3 error +┃ 1/piefke-classify +┃ 2/piefke-classify", text)
    for category in ("cat", "flower", "food", "general"):
        assert re.search(rf"{category} +│ [01]\.\d+", text)


def test_cross_tabulates_and_charts_every_expert_on_every_category(manifest: Path, tmp_path: Path) -> None:
    invoke(*train_arguments("siswanto-cnn", manifest, tmp_path, *TWELVE_STEPS, 'categories=["cat", "food"]'))
    text = invoke("cross", "siswanto-cnn", "--data", manifest, "--runs", tmp_path, *set_options(TWELVE_STEPS))
    assert re.search(r"ΔE00 by expert, of pictures of +┃ cat +┃ food", text)
    assert len(re.findall(r"^│ (?:cat|food) +│ +\d+\.\d+ +│ +\d+\.\d+ +│$", text, re.MULTILINE)) == 2
    assert (tmp_path / "siswanto-cnn" / "cross-category.png").is_file()
