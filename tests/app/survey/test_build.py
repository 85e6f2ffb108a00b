"""Building a survey."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from models.bundle_header import EVERYDAY
from tests.app.survey.bundles import Key, copy_everyday
from tests.cli_runner import invoke
from training.data.dataset_index import DataError


def test_served_folder_does_not_reveal_candidates(survey: Path, key: Key) -> None:
    card = (survey / "survey.json").read_text()
    assert not any(word in card for word in ("everyday", "vivid", "pale", "truth", "cat", "category"))
    names = {path.name for path in survey.iterdir()} - {"survey.json"}
    assert names == {name for question in json.loads(card)["questions"] for name in question["pictures"]}
    for name in names:
        with Image.open(survey / name) as image:
            assert not image.info.get("exif")
    by_time = sorted(names, key=lambda name: (survey / name).stat().st_mtime_ns)
    assert by_time == sorted(names)  # the order of writing does not reveal the candidates
    for category in ("cat", "food", "flower", "general"):
        own = {each["kind"]: sorted(each["pictures"].values()) for each in key.values() if each["category"] == category}  # type: ignore[index]
        assert own == {"natural": ["everyday", "pale", "vivid"], "real": ["everyday", "pale", "truth", "vivid"]}  # type: ignore[comparison-overlap]


@pytest.mark.slow
def test_survey_is_determined_by_seed(survey: Path, vivid: Path, pale: Path, dataset: Path, tmp_path: Path) -> None:
    arguments = ("survey", "build", EVERYDAY, vivid, pale, "--data", dataset, "--real", 1)
    for name, seed in (("same", 0), ("other", 1)):
        invoke(*arguments, "--out", tmp_path / name, "--seed", seed)
    first, same, other = ((folder / "survey.json").read_bytes() for folder in (survey, tmp_path / "same", tmp_path / "other"))
    assert first == same
    assert first != other
    invoke(*arguments, "--out", tmp_path / "same", "--seed", 0)  # the same survey may be written again
    kept = (tmp_path / "same.key.json").read_bytes(), (tmp_path / "same" / "survey.json").read_bytes()
    with pytest.raises(DataError, match="is the key of another survey"):
        invoke(*arguments, "--out", tmp_path / "same", "--seed", 1)
    assert ((tmp_path / "same.key.json").read_bytes(), (tmp_path / "same" / "survey.json").read_bytes()) == kept


@pytest.mark.slow
def test_invalid_survey_arguments_are_reported(vivid: Path, dataset: Path, tmp_path: Path) -> None:
    alike = copy_everyday(tmp_path / "alike", "alike", 1)
    shutil.copy(EVERYDAY / "manifest.json", alike)
    text = (alike / "manifest.json").read_text()
    (alike / "manifest.json").write_text(text.replace('"name": "everyday"', '"name": "alike"'))
    (tmp_path / "other_data").mkdir()
    (tmp_path / "other_data" / "survey.json").write_text("[]")
    for arguments, message in (
        ((EVERYDAY,), "1 bundles cannot be compared"),
        ((EVERYDAY, vivid, "--natural", "13"), "has only 12 pictures"),
        ((EVERYDAY, alike, "--category", "cat"), "12 were colorized alike"),
        ((EVERYDAY, EVERYDAY), "is given twice"),
        ((EVERYDAY, vivid, "--key", tmp_path / "out" / "key.json"), "would lie in the folder that is served"),
        ((EVERYDAY, vivid, "--category", "cat", "--category", "dragon"), "has no category dragon; it has cat, flower"),
        ((EVERYDAY, vivid, "--out", tmp_path / "other_data"), "is not a survey"),
    ):
        with pytest.raises(DataError, match=message):
            invoke("survey", "build", "--data", dataset, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()
