"""From probabilities to a route: one threshold rule, whatever the classifier.

Paper 004 (section 2.1) sends a picture to the class of its likeliest label, and to *person* when no label reaches 0.05; papers 003
and 004 both show what a wrong route costs. What differs: the threshold is the bundle's, the fallback is any category, and soft
routing blends the experts of the likeliest categories instead of trusting the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from models.errors import OptionError

Reason = Literal["confident", "below_threshold", "unmapped", "requested"]

TOP = 5
SOFT_CATEGORIES = 3  # at most so many categories share a soft route; the fallback takes what is left


@dataclass(frozen=True)
class Route:
    """Where a picture goes, and why.

    `category` is the fallback's when `fell_back`. `confidence` is the probability of the answer that the rule looked at: of the
    category that won, that stayed below the threshold, or that was requested; of *unmapped* where that was likeliest. All
    this is the threshold rule's verdict; a soft route blends by probability whatever it says, and `weights` tells who paints.
    """

    category: str
    confidence: float
    fell_back: bool
    reason: Reason
    threshold: float
    top: tuple[tuple[str, float], ...]
    weights: Mapping[str, float]  # category -> share of the painting, summing to 1


class Router:
    """Applies the threshold rule to a classifier's probabilities.

    Args:
        categories: names of the probability columns, without the last, which is *unmapped*.
        fallback: the category that takes what is unmapped or below the threshold.
        threshold: least probability of the likeliest category, 0 to 1.
        others: categories that the classifier does not know, and that can be requested all the same.
    """

    def __init__(self, categories: Sequence[str], fallback: str, threshold: float, others: Sequence[str] = ()) -> None:
        self.categories = tuple(categories)
        self.fallback = fallback
        self.threshold = threshold
        self.others = tuple(others)

    @property
    def choices(self) -> tuple[str, ...]:
        """Every category that can be requested: the classifier's, the others, and the fallback."""
        return tuple(dict.fromkeys((*self.categories, *self.others, self.fallback)))

    def check(self, category: str | None) -> None:
        """Raise an OptionError unless the category is one of `choices`, or None for the router's own choice."""
        if category is not None and category not in self.choices:
            raise OptionError("category", category, ("auto", *self.choices))

    def scores(self, probabilities: Tensor) -> dict[str, float]:
        """The probability of every choice, from the classifier's `(categories + 1,)`.

        What is unmapped counts for the fallback, unless the fallback is a category of its own, as paper 004's *person* is.
        """
        *values, unmapped = probabilities.tolist()
        return {self.fallback: unmapped, **dict(zip(self.categories, values, strict=True))}

    def route(
        self, probabilities: Tensor, category: str | None = None, threshold: float | None = None, soft: bool = False
    ) -> Route:
        """The route of one picture, from its probabilities `(categories + 1,)`.

        Raises:
            OptionError: `category` is none of `choices`, or `threshold` is not within 0 and 1.
        """
        threshold = self.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise OptionError("threshold", threshold, "a number from 0 to 1")
        scores = self.scores(probabilities)
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        top = tuple(ranked[:TOP])
        if category is not None:
            self.check(category)
            return Route(category, scores.get(category, 0.0), False, "requested", threshold, top, {category: 1.0})

        *values, unmapped = probabilities.tolist()
        best, confidence = max(zip(self.categories, values, strict=True), key=lambda item: item[1])
        if unmapped > confidence:
            route = Route(self.fallback, unmapped, True, "unmapped", threshold, top, {self.fallback: 1.0})
        elif confidence < threshold:
            route = Route(self.fallback, confidence, True, "below_threshold", threshold, top, {self.fallback: 1.0})
        else:
            route = Route(best, confidence, False, "confident", threshold, top, {best: 1.0})
        return replace(route, weights=self._blend(scores)) if soft else route

    def _blend(self, scores: Mapping[str, float]) -> dict[str, float]:
        """The likeliest categories by their probabilities; what they leave of 1 goes to the fallback."""
        likeliest = sorted(((name, p) for name, p in scores.items() if name != self.fallback), key=lambda item: -item[1])
        total = max(1.0, sum(p for _, p in likeliest))
        weights = {name: p / total for name, p in likeliest[:SOFT_CATEGORIES] if p > 0}
        return {**weights, self.fallback: 1.0 - sum(weights.values())}
