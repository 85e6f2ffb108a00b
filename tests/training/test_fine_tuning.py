"""Runs that continue from other runs: wider trunks, experts on a frozen trunk, and experts refined with an adversarial loss."""

import shutil
from pathlib import Path

import pytest
import torch

from models.colorizers.vgg_expert import VggExpert
from models.vgg import VggTrunk
from tests.small_runs import SETS
from training.config.recipe_files import load_recipe
from training.config.section import RecipeError
from training.loop.checkpoints import load_state, save_state
from training.loop.run_folder import BEST, read_metrics
from training.runs.train import train_recipe
from training.tasks.partial import freeze_others

pytestmark = pytest.mark.slow


def set_step(checkpoint: Path, source: Path) -> None:
    """Write the checkpoint `source` to `checkpoint` with another step, as if it came from another run."""
    tensors, meta = load_state(source)
    save_state(checkpoint, tensors, {**meta, "step": 3})


def test_expert_checkpoint_contains_only_its_own_weights(everyday_runs: Path) -> None:
    tensors, meta = load_state(everyday_runs / "everyday-experts" / "cat" / BEST)
    assert meta["category"] == "cat"
    assert all(name.startswith("expert.") for name in tensors)
    base, _ = load_state(everyday_runs / "everyday-close" / BEST)
    assert not torch.equal(tensors["expert.logits.weight"], base["expert.logits.weight"])


def test_refined_expert_is_trained_with_an_adversarial_loss_whose_discriminator_is_discarded(everyday_runs: Path) -> None:
    before, after = (load_state(everyday_runs / name / "cat" / BEST)[0] for name in ("everyday-experts", "everyday-refined"))
    assert before.keys() == after.keys()
    assert not torch.equal(before["expert.logits.weight"], after["expert.logits.weight"])
    rows = list(read_metrics(everyday_runs / "everyday-refined" / "cat"))
    assert rows
    assert all(0 < row[loss] < 3 for row in rows for loss in ("generator_loss", "discriminator_loss"))


def test_refined_expert_is_not_resumed_from_another_initial_decoder(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(everyday_runs, tmp_path / "runs")
    expert = Path("everyday-experts", "cat", BEST)
    set_step(tmp_path / "runs" / expert, everyday_runs / expert)
    recipe = load_recipe("everyday-refined", (*SETS, 'categories=["cat"]'), smoke=True)
    (outcome,) = train_recipe(recipe, manifest, tmp_path / "runs")
    assert "contains a run with another initial_decoder" in outcome.problem


def test_expert_of_another_base_is_not_refined(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(everyday_runs, tmp_path / "runs")
    base = Path("everyday-close", BEST)
    set_step(tmp_path / "runs" / base, everyday_runs / base)
    recipe = load_recipe("everyday-refined", (*SETS, 'categories=["cat"]', "seed=7"), smoke=True)
    (outcome,) = train_recipe(recipe, manifest, tmp_path / "runs")
    assert "cat was fine-tuned from another everyday-close: train it again with --restart" in outcome.problem


def test_joint_run_continues_from_another_and_keeps_its_frozen_stages(everyday_runs: Path) -> None:
    before, after = (load_state(everyday_runs / name / BEST)[0] for name in ("everyday-trunk", "everyday-wide"))
    assert before.keys() == after.keys()
    frozen = {name for name in before if name.startswith(tuple(f"trunk.features.{layer}." for layer in range(8)))}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert frozen
    assert not frozen & changed
    assert "trunk.features.8.weight" in changed
    assert {name.split(".")[0] for name in changed} == {"trunk", "expert", "head"}


def test_untrained_stages_cannot_be_frozen(manifest: Path, tmp_path: Path) -> None:
    recipe = load_recipe("everyday-wide", (*SETS, "task.init_from="), smoke=True)
    with pytest.raises(RecipeError, match="task.frozen_stages is 2, and these stages are untrained: set task.init_from"):
        list(train_recipe(recipe, manifest, tmp_path))


def test_joint_run_retrains_only_the_named_parts(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(everyday_runs / "everyday-trunk", tmp_path / "everyday-trunk")
    parts = ("task.init_from=everyday-trunk", 'task.parts=["head.dense"]')
    (outcome,) = train_recipe(load_recipe("everyday-trunk", (*SETS, *parts, "name=head"), smoke=True), manifest, tmp_path)
    assert not outcome.problem
    before, after = (load_state(tmp_path / name / BEST)[0] for name in ("everyday-trunk", "head"))
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.dense.weight", "head.dense.bias"}
    assert all(row["color_loss"] == 0 and row["class_loss"] > 0 for row in read_metrics(tmp_path / "head"))


def test_parts_of_an_untrained_network_are_refused(manifest: Path, tmp_path: Path) -> None:
    recipe = load_recipe("everyday-trunk", (*SETS, 'task.parts=["head.dense"]'), smoke=True)
    with pytest.raises(RecipeError, match="task.parts is head.dense, and the other parts are untrained: set task.init_from"):
        list(train_recipe(recipe, manifest, tmp_path))


def test_joint_run_cannot_continue_from_an_expert(manifest: Path, everyday_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(everyday_runs / "everyday-experts" / "cat", tmp_path / "everyday-trunk")
    with pytest.raises(RecipeError, match="everyday-trunk is not a run of the task `joint`"):
        list(train_recipe(load_recipe("everyday-wide", SETS, smoke=True), manifest, tmp_path))


def test_only_named_parts_of_a_decoder_are_trained() -> None:
    network = VggExpert(VggTrunk("compact"))
    frozen = freeze_others(network, ("up4.after", "logits.bias"))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {"up4.after.weight", "up4.after.bias", "logits.bias"}
    network.train()
    frozen.eval()
    assert not network.up16.after.training  # its running statistics stay those of the base
    assert network.up4.after.training


def test_all_of_a_decoder_is_trained_without_names() -> None:
    network = VggExpert(VggTrunk("compact"))
    assert not list(freeze_others(network, ()))
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("part", ["up5", "up4.", "log", ""])
def test_unknown_parts_of_a_decoder_are_refused(part: str) -> None:
    with pytest.raises(RecipeError, match=f"task.parts has '{part}', and the network consists of deepest, whole, up16"):
        freeze_others(VggExpert(VggTrunk("compact")), ("logits", part))
