"""Changes of recipes for training runs of a few seconds on the pictures of the fixture `manifest`."""

from collections.abc import Iterable
from pathlib import Path

from tests.cli_runner import set_options
from training.runs.train import Outcome

SETS = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]')
AT_32_PX = (*SETS, "data.size=32", "schedule.sizes=[[1.0, 32]]", "schedule.validation_size=32")
AT_64_PX = (*SETS, "data.size=64", "schedule.sizes=[[1.0, 64]]", "schedule.validation_size=64")
TWELVE_STEPS = (*AT_32_PX, "schedule.batch=4", "schedule.steps=12", "schedule.validate_every=4", "schedule.precision=float32")


def train_arguments(recipe: str, manifest: Path, runs: Path, *changes: str) -> list[str]:
    """The arguments of `chromaroute-train` that train a recipe with these changes."""
    return ["train", recipe, "--data", str(manifest), "--runs", str(runs), *set_options(changes)]


def run_names(outcomes: Iterable[Outcome]) -> list[str]:
    """The names of runs, all of which must have succeeded."""
    ended = list(outcomes)
    assert [outcome.problem for outcome in ended] == [""] * len(ended)
    return [outcome.name for outcome in ended]
