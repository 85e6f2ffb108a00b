"""Selection of the expert and the readout of a category, by error and colorfulness."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console

from training.config.bundle_recipe import BundleRecipe
from training.data.packs import Pack
from training.publishing.expert_selector import ExpertCandidate, ExpertSelector
from training.publishing.readout_scores import ReadoutScores
from training.publishing.selection import beats, select_fallback_readout, select_readout


def readout_scores(*readouts: tuple[float, float]) -> ReadoutScores:
    """The scores of ten pictures whose true colorfulness is 40, for readouts with these (error, colorfulness)."""
    errors, colorfulness = torch.tensor(readouts).T[..., None].expand(2, len(readouts), 10)
    arguments = tuple({"readout": index} for index in range(len(readouts)))
    return ReadoutScores(arguments, errors, colorfulness, torch.full((10,), 40.0))


def test_colorfulness_is_raised_first_where_it_costs_the_least_error() -> None:
    cheap, costly = readout_scores((7.0, 20.0), (7.1, 32.0), (8.0, 44.0)), readout_scores((7.0, 20.0), (9.0, 32.0))
    selected = {
        price: [select_readout({"general": scores}, 11.0, price)[1] for scores in (cheap, costly)]
        for price in (0.0, 0.05, 0.1, 0.2)
    }
    assert selected == {0.0: [0, 0], 0.05: [1, 0], 0.1: [2, 0], 0.2: [2, 1]}
    assert select_readout({"general": cheap}, None, 1.0) == ("general", 2)
    assert cheap.lowest_errors.tolist() == [7.0] * 10


def test_a_category_keeps_part_of_its_gain_over_the_general_expert() -> None:
    general = readout_scores((7.4, 24.0), (8.0, 32.0))
    own = readout_scores((6.0, 24.0), (7.0, 28.0), (7.95, 36.0), (9.0, 50.0))
    both = {"general": general, "own": own}
    assert select_readout(both, 8.0, price=0.0) == ("own", 0)
    assert select_readout(both, 8.0, price=1.0) == ("own", 1)  # 7.95 would leave too little of the gain
    assert select_readout(both, 8.0, price=0.15) == ("own", 0)  # the others cost too much error
    assert select_readout({"general": general}, 8.0, price=0.15) == ("general", 0)
    assert select_readout({"own": own}, None, price=1.0) == ("own", 3)
    assert select_readout({"own": own}, 5.0, price=0.15) == ("own", 0)  # the best one, although it is worse than the reference


def test_the_fallback_is_no_worse_than_the_expert_that_it_avoids() -> None:
    general = readout_scores((6.8, 20.0), (7.1, 28.0), (8.0, 44.0))
    assert select_fallback_readout(general, reference=9.0, price=1.0) == 2
    assert select_fallback_readout(general, reference=7.5, price=1.0) == 1  # 8.0 is more colorful, and worse than the reference
    assert select_fallback_readout(general, reference=7.5, price=0.0) == 0
    assert select_fallback_readout(general, reference=5.0, price=1.0) == 0  # none is good enough: the one with the lowest error


def test_general_expert_is_as_pale_as_the_categories_that_it_replaces() -> None:
    """Vivid colors cost little on the pictures that fall back, and much on those of the category, whose readout is pale."""
    labels = np.array([0] * 5 + [1] * 15)  # cat, general
    pack = Pack(np.zeros((20, 3, 1, 1), np.uint8), np.arange(20), labels, labels, ("cat", "general"))
    is_general = torch.from_numpy(labels == 1)
    errors = torch.stack((torch.where(is_general, 7.0, 6.0), torch.where(is_general, 8.0, 9.0)))
    colorfulness = torch.tensor([[30.0], [46.0]]).expand(2, 20)

    class FixedScores(ExpertSelector):
        def _candidate(self, file: str, trained: Any, pack: Pack) -> ExpertCandidate:
            scores = ReadoutScores(({"pale": 1}, {"vivid": 1}), errors, colorfulness, torch.full((20,), 40.0))
            return ExpertCandidate(file, trained, scores)

        def _card(self, category: str, candidate: ExpertCandidate, readout: int) -> Any:
            return candidate.scores.readouts[readout]

    def select(fell_back: torch.Tensor) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "recipe": BundleRecipe(name="mine", description="", license="", colorfulness_price=0.1),
            "datasets": SimpleNamespace(
                val=pack, categories=pack.categories, of_category=lambda pack, name: pack.pick(np.flatnonzero(pack.labels == 0))
            ),
            "base": SimpleNamespace(general=lambda size: None),
            "head": SimpleNamespace(routes=lambda pack: (torch.zeros(20, dtype=torch.long), fell_back)),
        }
        selector = FixedScores(**parts, runs=Path(), cards=cast(Any, None), device=torch.device("cpu"), console=Console(quiet=True))
        return cast(dict[str, Any], selector.select(["cat", "general"])[0])

    assert select(is_general) == {"general": {"pale": 1}}
    assert select(torch.zeros(20, dtype=torch.bool)) == {"general": {"vivid": 1}, "cat": {"pale": 1}}


def test_lower_errors_must_exceed_the_noise_to_beat_the_reference() -> None:
    reference = torch.linspace(5, 15, 40)
    assert beats(reference - 1, reference)
    assert not beats(reference, reference)
    noise = torch.tensor([3.0, -2.8] * 20)
    assert not beats(reference - noise, reference)
    assert beats(reference - noise, reference, margin=0.0)
    assert not beats(reference[:1] - 5, reference[:1])
