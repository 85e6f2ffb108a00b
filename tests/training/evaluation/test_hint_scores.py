"""Scores of hints: true colors of points bring a picture nearer to the truth, and do not spoil the rest."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.ensemble import Ensemble
from tests.cli_runner import invoke
from training.evaluation.hint_scores import hint_rows, hint_scores
from training.report import charts


@pytest.fixture(scope="module")
def scores(photographs: dict[str, Image.Image], ensemble: Ensemble):  # type: ignore[no-untyped-def]
    pictures = [np.asarray(photographs[name].convert("RGB")) for name in ("cat", "person", "food", "flower", "city")]
    return [hint_scores(ensemble, rgb, seed, (0, 5, 20)) for seed, rgb in enumerate(pictures)]


def test_more_hints_are_nearer_to_the_truth(scores) -> None:  # type: ignore[no-untyped-def]
    rows = hint_rows(scores, (0, 5, 20))
    assert [row.hints for row in rows] == [0, 5, 20]
    assert (rows[0].gain.value, rows[0].error.value, rows[0].elsewhere.value) == (0, 1, 1)
    assert rows[2].gain.value > rows[1].gain.value > 1.5
    assert rows[2].error.value < rows[1].error.value < 0.9
    assert rows[1].elsewhere.value < 1
    assert charts.hints(rows).startswith(b"\x89PNG")


def test_scores_do_not_depend_on_the_other_numbers_of_hints(
    photographs: dict[str, Image.Image],
    ensemble: Ensemble,
    scores,  # type: ignore[no-untyped-def]
) -> None:
    (automatic,) = hint_scores(ensemble, np.asarray(photographs["cat"].convert("RGB")), 0, (0,))
    assert automatic == scores[0][0]


@pytest.mark.slow
def test_command_writes_scores_and_a_chart(manifest: Path, tmp_path: Path) -> None:
    output = invoke("hints", "--data", manifest, "--limit", 2, "--out", tmp_path)
    assert "2 pictures" in output
    report = json.loads((tmp_path / "hints.json").read_bytes())
    assert [row["hints"] for row in report["rows"]] == [0, 1, 2, 5, 10, 20, 50]
    assert (report["pictures"], report["rows"][0]["gain"][0]) == (2, 0)
    with Image.open(tmp_path / "hints.png") as chart:
        assert chart.width > 500
