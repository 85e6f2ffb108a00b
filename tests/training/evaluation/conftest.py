"""Evaluations on the test crops: a judge, a worse bundle to compare with, their results in memory, and the written report."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from models.bundle_header import EVERYDAY
from models.runtime import Runtime
from tests.cli_runner import invoke
from tests.small_runs import SETS, train_arguments
from training.data.dataset_index import Entry, read_index
from training.evaluation.evaluate import Evaluation, evaluate, load_bundles
from training.evaluation.judge import load_judge


@pytest.fixture(scope="session")
def judge(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that classifies color crops; beside it, `li-classifier` classifies gray ones."""
    runs = tmp_path_factory.mktemp("judges")
    for recipe in ("li-judge", "li-classifier"):
        invoke(*train_arguments(recipe, manifest, runs, *SETS, "data.size=32"), "--smoke")
    return runs / "li-judge"


@pytest.fixture(scope="session")
def vivid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the embedded one, but with far too saturated colors of the opposite hue."""
    folder = tmp_path_factory.mktemp("bundles") / "vivid"
    shutil.copytree(EVERYDAY, folder)
    content = json.loads((folder / "manifest.json").read_text())
    content["name"] = "vivid"
    for card in content["experts"].values():
        card["arguments"]["saturation"] = -2.5
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def entries(manifest: Path) -> list[Entry]:
    """The entries of the test crops."""
    return [entry for entry in read_index(manifest) if entry.split == "test"]


@pytest.fixture(scope="session")
def evaluation(entries: list[Entry], manifest: Path, vivid: Path, judge: Path) -> Evaluation:
    """The embedded bundle, evaluated against *vivid* with a judge."""
    bundles = load_bundles([EVERYDAY, vivid], Runtime())
    own = bundles.pop("everyday")
    return evaluate(own, bundles, entries, read_index(manifest), load_judge(str(judge), torch.device("cpu")))


@pytest.fixture(scope="session")
def report_folder(manifest: Path, vivid: Path, judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report that the command writes with all of its options. Tests must not change it."""
    out = tmp_path_factory.mktemp("report") / "report"
    options = ("--against", vivid, "--judge", judge, "--classifier", judge.parent / "li-classifier", "--out", out)
    assert "best route" in invoke("evaluate", EVERYDAY, "--data", manifest, *options)
    return out
