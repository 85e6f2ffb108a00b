"""Which network paints a category and how it is read out, decided on what came of trying each way.

Error and color pull against each other, and color is cheap in one category (a beach) and dear in another (a dress). So there is
one price for it everywhere: every other division that is as colorful is further from the truth. And a category keeps a part of its
gain over the general expert: routing is there to be right, and not only to be vivid.
"""

from collections.abc import Mapping

from torch import Tensor

from training.publishing.read_outs import Tried

KEPT = 0.4  # the share of a category's gain over the general expert that is not spent on color


def choose(rivals: Mapping[str, Tried], reference: float | None, price: float) -> tuple[str, int]:
    """The rival, and the way to serve it, that are worth most on a category's pictures at a price of color.

    Args:
        rivals: what could paint the category, by name.
        reference: mean error of what paints it otherwise, which the choice must not exceed; None for nothing.
        price: ΔE94 for a unit of colorfulness.
    """
    nearest = min(float(tried.errors.mean(dim=1).min()) for tried in rivals.values())
    furthest = float("inf") if reference is None else max(nearest, reference - KEPT * (reference - nearest))
    worth = {name: found for name, tried in rivals.items() if (found := tried.worth_most(price, furthest)) is not None}
    name = min(worth, key=lambda name: worth[name][0])
    return name, worth[name][1]


def pays(own: Tensor, rival: Tensor, margin: float = 1.0) -> bool:
    """Whether errors `(n,)` are below a rival's on the same pictures, by so many standard errors of the mean difference."""
    gain = rival - own
    if len(gain) < 2:
        return False
    return float(gain.mean()) > margin * float(gain.std() / len(gain) ** 0.5)
