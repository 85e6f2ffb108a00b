"""Selection of the expert and the readout of a category, by error and colorfulness."""

import torch

from training.publishing.readout_scores import ReadoutScores
from training.publishing.selection import beats, select_readout


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
    own = readout_scores((6.0, 24.0), (7.0, 28.0), (7.9, 36.0), (9.0, 50.0))
    both = {"general": general, "own": own}
    assert select_readout(both, 8.0, price=0.0) == ("own", 0)
    assert select_readout(both, 8.0, price=1.0) == ("own", 1)  # 7.9 would leave too little of the gain
    assert select_readout(both, 8.0, price=0.15) == ("own", 0)  # the others cost too much error
    assert select_readout({"general": general}, 8.0, price=0.15) == ("general", 0)
    assert select_readout({"own": own}, None, price=1.0) == ("own", 3)
    assert select_readout({"own": own}, 5.0, price=0.15) == ("own", 0)  # the best one, although it is worse than the reference


def test_lower_errors_must_exceed_the_noise_to_beat_the_reference() -> None:
    reference = torch.linspace(5, 15, 40)
    assert beats(reference - 1, reference)
    assert not beats(reference, reference)
    noise = torch.tensor([3.0, -2.8] * 20)
    assert not beats(reference - noise, reference)
    assert beats(reference - noise, reference, margin=0.0)
    assert not beats(reference[:1] - 5, reference[:1])
