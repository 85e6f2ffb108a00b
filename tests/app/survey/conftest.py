"""A survey about the embedded bundle and two variants of it."""

import json
from pathlib import Path

import pytest

from models.bundle_header import EVERYDAY
from tests.app.survey.bundles import Key, copy_everyday
from tests.cli_runner import invoke
from training.data.dataset_index import write_index
from training.data.prepare import prepare


@pytest.fixture(scope="session")
def vivid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the embedded one, with more vivid colors."""
    return copy_everyday(tmp_path_factory.mktemp("bundles") / "vivid", "vivid", 2.5)


@pytest.fixture(scope="session")
def pale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the embedded one, with little color."""
    return copy_everyday(tmp_path_factory.mktemp("bundles") / "pale", "pale", 0.3)


@pytest.fixture(scope="session")
def dataset(category_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset index of crops of photographs, in four categories."""
    path = tmp_path_factory.mktemp("data") / "manifest.csv"
    write_index(prepare(category_folders, split="test").entries, path)
    return path


@pytest.fixture(scope="session")
def survey(vivid: Path, pale: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survey with a question of each kind for every category."""
    out = tmp_path_factory.mktemp("survey") / "survey"
    output = invoke("survey", "build", EVERYDAY, vivid, pale, "--out", out, "--data", dataset, "--natural", 1, "--real", 1)
    assert "8 questions" in output
    return out


@pytest.fixture(scope="session")
def key(survey: Path) -> Key:
    """The questions in the key of the survey."""
    questions: Key = json.loads(survey.with_name("survey.key.json").read_text())["questions"]
    return questions
