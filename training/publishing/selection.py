"""Selects the expert and the readout of a category by their scores.

Colorfulness increases the error: little in some categories (beach), much in others (dress). A unit of colorfulness is therefore
worth the same ΔE94 in every category, which gives the lowest total error for a given total colorfulness. In addition, color may not
be bought by an error that routing should avoid: a category keeps a share of its gain over the general expert (`KEPT_GAIN`), and the
general expert is not worse, on pictures that fall back to it, than the experts that the fallback avoids.
"""

from collections.abc import Mapping

from torch import Tensor

from training.publishing.readout_scores import ReadoutScores

KEPT_GAIN = 0.05  # share of the gain of a category over the general expert that is not exchanged for colorfulness


def select_readout(candidates: Mapping[str, ReadoutScores], reference: float | None, price: float) -> tuple[str, int]:
    """The candidate and the index of its readout with the lowest cost for the pictures of a category.

    Args:
        candidates: the scores of the networks that could serve the category, by name.
        reference: mean error of the network that serves the category otherwise, which must not be exceeded; None for no limit.
        price: ΔE94 for a unit of colorfulness.
    """
    lowest = min(float(scores.errors.mean(dim=1).min()) for scores in candidates.values())
    max_error = float("inf") if reference is None else max(lowest, reference - KEPT_GAIN * (reference - lowest))
    costs = {name: cheapest for name, scores in candidates.items() if (cheapest := scores.cheapest(price, max_error)) is not None}
    name = min(costs, key=lambda name: costs[name][0])
    return name, costs[name][1]


def select_fallback_readout(scores: ReadoutScores, reference: float, price: float) -> int:
    """The index of the readout of the general expert, by its scores on pictures that fall back.

    Args:
        scores: of the general expert on these pictures.
        reference: mean error on them of the experts of their most probable categories, which must not be exceeded; if all readouts
            exceed it, the one with the lowest error is chosen.
        price: ΔE94 for a unit of colorfulness.
    """
    found = scores.cheapest(price, reference)
    return int(scores.errors.mean(dim=1).argmin()) if found is None else found[1]


def beats(errors: Tensor, reference: Tensor, margin: float = 1.0) -> bool:
    """Whether errors `(n,)` are lower than reference errors on the same pictures, by `margin` standard errors of the mean
    difference.
    """
    gain = reference - errors
    if len(gain) < 2:
        return False
    return float(gain.mean()) > margin * float(gain.std() / len(gain) ** 0.5)
