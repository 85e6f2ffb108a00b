"""Recipes: those of the project, changes by `--set`, and the errors of recipes that cannot be followed."""

import re
from importlib import resources
from pathlib import Path

import pytest

from models.errors import OptionError
from tests.small_runs import SETS
from training.config.recipe import Recipe
from training.config.recipe_files import load_recipe, recipe_names
from training.config.section import RecipeError
from training.data.dataset_index import DataError
from training.loop.distributed import init_distributed
from training.loop.lr_schedule import lr_factor
from training.runs.train import train_recipe


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.startswith("bundle-")])
def test_every_recipe_is_valid_and_documents_its_command_and_duration(name: str) -> None:
    assert isinstance(load_recipe(name), Recipe)
    text = (resources.files("training") / "recipes" / f"{name}.toml").read_text()
    assert f"chromaroute-train train {name} " in text
    (expected,) = re.findall(r"Expected: (.*)", text)
    assert re.search(r"minute|hour|half an hour|second", expected)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("everyday-trunk", ("task.label_smothing=1",), "task.joint.label_smothing: Extra inputs"),
        ("everyday-trunk", ("schedule.steps=-1",), "schedule.steps"),
        ("everyday-trunk", ("schedule",), "write a.b=value"),
        ("missing", (), "one of bundle-everyday, bundle-photos64, bundle-pix2pix"),
    ],
)
def test_invalid_recipe_raises_an_error_with_the_reason(name: str, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed=-1", "seed"), ("schedule.sizes=[]", "schedule.sizes"), ("schedule.sizes=[[1.0, -64]]", "schedule.sizes"),
        ("schedule.betas=[2, 2]", "schedule.betas"), ('name="../../out"', "name"), ("data.size=100000", "data.size"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_rejected(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"not valid: {message}"):
        load_recipe("siswanto-cnn", (change,))


def test_recipes_that_extend_one_another_in_a_circle_are_rejected(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'extends = "{two}"')
    two.write_text(f'extends = "{one}"')
    with pytest.raises(RecipeError, match="extend one another in a circle"):
        load_recipe(str(one))


def test_unknown_device_is_rejected() -> None:
    with pytest.raises(OptionError, match="device is 'abacus'"):
        init_distributed("abacus")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("siswanto-cnn", 'categories=["car"]', "'car'"),
        ("everyday-trunk", "schedule.sizes=[[1.0, 100]]", "100 px: give multiples of 32"),
        ("piefke-colorize", 'task.family="vgg_expert"', "by regression: give one of iizuka, vgg_decoder, zhang"),
    ],
)
def test_options_that_do_not_fit_data_or_network_are_rejected(
    name: str, change: str, message: str, manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        list(train_recipe(load_recipe(name, (*SETS, change), smoke=True), manifest, tmp_path))


def test_recipe_without_pictures_in_its_sets_is_rejected(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training pictures in the sets photos; its sets are photographs, tiny"):
        list(train_recipe(load_recipe("siswanto-cnn"), manifest, tmp_path))


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    schedule = load_recipe("everyday-trunk").schedule
    factors = [lr_factor(schedule, step) for step in range(schedule.steps)]
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) in range(schedule.warmup - 1, schedule.warmup + 2)
    assert factors[-1] < 1e-4


def test_picture_size_grows_during_training() -> None:
    schedule = load_recipe("everyday-trunk").schedule
    assert schedule.size_at(0) == 96
    assert schedule.size_at(schedule.steps - 1) == 128
