"""Wrong recipes: every one raises a RecipeError that names the key and the valid values, and no other error."""

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from models.colorizers import COLORIZERS, RegressionColorizer
from tests.small_runs import AT_32_PX
from training.config.recipe import Recipe
from training.config.recipe_files import load_bundle_recipe, load_recipe
from training.config.renamed_keys import RENAMED, RENAMED_VALUES
from training.config.section import RecipeError
from training.config.task_options import AnyTaskOptions, ClassificationOptions
from training.data.datasets import Datasets
from training.loop.distributed import single_process
from training.tasks import Task, TaskContext, build_task

KINDS = {get_args(options.model_fields["kind"].annotation)[0]: options for options in get_args(get_args(AnyTaskOptions)[0])}
WITH_NETWORK = {kind: options for kind, options in KINDS.items() if {"family", "arguments"} & set(options.model_fields)}
BACKBONES = get_args(ClassificationOptions.model_fields["backbone"].annotation)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "unknown argument": {"colour": 1},
    "negative width": {"width": -4},
    "text for a number": {"width": "wide"},
    "none": {},
}
SMALL_TRUNK = {"trunk": "deep", "weights": "everyday"}


def write_recipe(path: Path, task: dict[str, Any]) -> str:
    """A recipe with this section `task`, on the pictures of the fixture `manifest`; returns its path."""
    values = "\n".join(f"{key} = {to_toml(value)}" for key, value in task.items())
    path.write_text(f"[task]\n{values}\n[schedule]\nsteps = 4\nema_decay = 0.0\n")
    return str(path)


def to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {to_toml(inner)}" for key, inner in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def build(task: dict[str, Any], manifest: Path, folder: Path) -> Task[Any]:
    """Load the recipe with this section `task`, and build its task."""
    recipe = load_recipe(write_recipe(folder / "wrong.toml", task), AT_32_PX)
    return build_task(TaskContext(recipe, Datasets(recipe.data, manifest), "cat", folder, single_process()))


def problem_of(task: dict[str, Any], manifest: Path, folder: Path) -> str:
    """The message of the RecipeError, which must say what is valid; empty if the task can be built. Other errors are raised."""
    try:
        build(task, manifest, folder)
    except RecipeError as error:
        message = str(error)
        assert re.search(r"\bgive |Input should be ", message), message
        return message
    return ""


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("family", COLORIZERS)
@pytest.mark.parametrize("kind", WITH_NETWORK)
def test_every_family_with_wrong_arguments_is_built_or_rejected_with_a_reason(
    kind: str, family: str, arguments: str, manifest: Path, tmp_path: Path
) -> None:
    fields = WITH_NETWORK[kind].model_fields
    trunk = SMALL_TRUNK if "trunk" in fields else {}
    message = problem_of({"kind": kind, "family": family, **trunk, "arguments": ARGUMENTS[arguments]}, manifest, tmp_path)
    if "family" not in fields:
        assert f"task.{kind}.family: Extra inputs are not permitted: give {', '.join(fields)}" in message
    elif not issubclass(COLORIZERS[family], RegressionColorizer):
        assert re.search(rf"task.family is '{family}'.* give one of iizuka, vgg_decoder", message)
    elif arguments != "none":
        check_argument_message(message, next(iter(ARGUMENTS[arguments])), COLORIZERS[family])
    elif message:  # the default network may need larger pictures
        assert re.search(r"schedule.sizes has 32 px: give multiples of \d+", message)


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("kind", [kind for kind in WITH_NETWORK if "family" not in WITH_NETWORK[kind].model_fields])
def test_wrong_arguments_of_tasks_with_a_fixed_network_are_rejected(
    kind: str, arguments: str, manifest: Path, tmp_path: Path
) -> None:
    network = {"bins": "zhang", "adversarial": "pix2pix"}.get(kind)
    backbone = {"backbone": "zhang"} if kind == "classification" else {}
    message = problem_of({"kind": kind, **backbone, "arguments": ARGUMENTS[arguments]}, manifest, tmp_path)
    if arguments != "none":
        check_argument_message(message, next(iter(ARGUMENTS[arguments])), COLORIZERS[network or "zhang_regression"])
    elif message:
        assert re.search(r"schedule.sizes has 32 px: give multiples of \d+", message)


@pytest.mark.parametrize("arguments", [name for name in ARGUMENTS if name != "none"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_wrong_arguments_of_every_backbone_are_rejected(backbone: str, arguments: str, manifest: Path, tmp_path: Path) -> None:
    task = {"kind": "classification", "backbone": backbone, "arguments": ARGUMENTS[arguments]}
    message = problem_of(task, manifest, tmp_path)
    assert f"task.arguments are not valid for the backbone {backbone}" in message
    assert next(iter(ARGUMENTS[arguments])) in message


def check_argument_message(message: str, argument: str, network: type) -> None:
    """The message must name the wrong argument, and either the valid ones or the valid values."""
    assert "task.arguments are not valid for" in message
    assert f"{argument}: " in message
    valid = [name for name in inspect.signature(network).parameters if name != "trunk"]
    assert "Input should be" in message if argument in valid else f"give {', '.join(valid) or 'none'}" in message


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"kind": "classification", "backbone": "oak"}, "task.classification.backbone: Input should be 'vgg19', 'resnet50'"),
        ({"kind": "classification", "backbone": "iizuka", "arguments": {"size": 100}}, "size is 100: give a multiple of 32"),
        (
            {"kind": "classification", "backbone": "iizuka", "arguments": {"build": "x"}},
            "build: Input should be 'basic', 'dropout'",
        ),
        ({"kind": "classification", "backbone": "deep", "arguments": {"network": "vgg16"}}, "network: Extra .*: give none"),
        ({"kind": "combined", "size": 100}, "task.combined.size: Input should be a multiple of 32"),
        ({"kind": "joint", "trunk": "oak"}, "task.joint.trunk: Input should be 'compact', 'deep', 'vgg16' or 'vgg19'"),
        ({"kind": "regression", "family": "oak"}, "task.family is 'oak'.* give one of iizuka"),
        ({"kind": "adversarial", "arguments": {"depth": 3}}, "depth is 3: give 4 to 8"),
        ({"kind": "bins", "arguments": {"bins": 100}}, "task.arguments.bins is 100: give 260"),
        ({"kind": "regression", "family": "vgg_decoder", "trunk": "oak"}, "there is no trunk 'oak': give one of compact"),
        ({"kind": "oak"}, "task: Input tag 'oak' .* expected tags: 'joint', 'expert'"),
        ({}, "task: Unable to extract tag .*: give one of joint, expert"),
        ({"kind": "joint", "readout": {"weight": 1}}, "task.joint.readout.weight: Extra .*: give delta_e_weight, chroma_reward"),
    ],
)
def test_wrong_options_of_a_task_are_rejected(task: dict[str, Any], message: str, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        build(task, manifest, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sed=1", r"sed: Extra inputs are not permitted: give name, seed, per_category, categories, task, data, schedule\."),
        ("data.sized=1", "data.sized: Extra .*: give sets, validation_sets, size"),
        ("data.groups.a.b=1", "data.groups.a: Input should be a valid tuple"),
        ("schedule.step=1", "schedule.step: Extra .*: give steps, stop_at, batch"),
        ("task.bakbone=1", "task.classification.bakbone: Extra .*: give kind, backbone, arguments"),
        ("schedule=1", "schedule: Input should be a valid dictionary"),
        ("task=1", "task: Input should be a valid dictionary"),
    ],
)
def test_unknown_keys_and_wrong_sections_are_rejected(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("li-classifier", (change,))


def test_unknown_keys_of_a_bundle_recipe_are_rejected() -> None:
    with pytest.raises(RecipeError, match="router.head.score: Extra inputs are not permitted: give classifier, risk"):
        load_bundle_recipe("bundle-everyday", ("router.score=max",))
    with pytest.raises(RecipeError, match="router.imagenet.risk: Extra .*: give classifier, network, mapping, score"):
        load_bundle_recipe("bundle-pix2pix", ("router.risk=0.1",))


def test_sections_that_are_values_are_rejected_in_smoke_runs_too(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('schedule = 1\n[task]\nkind = "bins"\n')
    with pytest.raises(RecipeError, match="schedule: Input should be a valid dictionary"):
        load_recipe(str(path), smoke=True)
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match="is not valid TOML"):
        load_recipe(str(path))


@pytest.mark.parametrize("key", RENAMED)
def test_every_renamed_key_is_rejected_with_its_new_name(key: str) -> None:
    load, recipe = (load_bundle_recipe, "bundle-everyday") if key in ("licence", "price") else (load_recipe, "everyday-trunk")
    with pytest.raises(RecipeError) as error:
        load(recipe, (f"{key}=1",))
    assert f"{key} is now called {RENAMED[key]}" in str(error.value)
    *sections, last = RENAMED[key].split(".")
    assert last in new_keys(sections, load is load_bundle_recipe)


@pytest.mark.parametrize(("key", "value"), RENAMED_VALUES)
def test_every_renamed_value_is_rejected_with_its_new_value(key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=f"the value '{value}' of {key} is now '{RENAMED_VALUES[key, value]}'"):
        load_recipe("everyday-trunk", (f"{key}={value}",))


def test_renamed_key_with_a_renamed_value_is_reported_at_once() -> None:
    with pytest.raises(RecipeError, match="task.reads is now called task.input; the value 'grey' of task.input is now 'gray'"):
        load_recipe("li-classifier", ("task.reads=grey",))


def new_keys(sections: list[str], bundle: bool) -> set[str]:
    """The keys that exist in a section of recipes today; those of all tasks for the section `task`."""
    from training.config.bundle_recipe import BundleRecipe
    from training.config.task_options import ReadoutLoss

    if sections == ["task"]:
        return {name for options in KINDS.values() for name in options.model_fields}
    if sections == ["task", "readout"]:
        return set(ReadoutLoss.model_fields)
    top = BundleRecipe if bundle else Recipe
    if not sections:
        return {*top.model_fields, "extends"}
    return set(top.model_fields[sections[0]].annotation.model_fields)  # type: ignore[union-attr]
