"""Categories side by side on a Ray cluster; one whose process is killed is resumed from its checkpoint."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli_runner import invoke
from tests.server_process import wait_until
from tests.small_runs import SETS, TWELVE_STEPS, train_arguments
from tests.training.test_parallel_training import start
from training.config.section import RecipeError

pytestmark = [pytest.mark.slow, pytest.mark.server]

STEPS = "schedule.steps=160"


def test_killed_category_is_resumed(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    arguments = train_arguments("photos64-cnn", manifest, tmp_path, *TWELVE_STEPS, STEPS, 'categories=["cat","flower"]')
    metrics = tmp_path / "photos64-cnn" / "cat" / "metrics.jsonl"
    with start(*arguments, "--ray") as process:
        wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 1, 120)
        workers = subprocess.run(["pgrep", "-f", "ray::train_category"], capture_output=True, text=True).stdout.split()
        assert workers
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    for category in ("cat", "flower"):
        rows = [json.loads(line) for line in (tmp_path / "photos64-cnn" / category / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == list(range(4, 161, 4))


def test_recipe_with_one_network_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--ray needs a recipe with `per_category = true`"):
        invoke(*train_arguments("li-bins", manifest, tmp_path, *SETS), "--ray")
