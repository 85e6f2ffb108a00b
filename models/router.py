"""The route of a picture, from the probabilities of a classifier: one threshold rule for all classifiers.

Paper 004 (section 2.1) sends a picture to the class of its most probable label, and to *person* if no label reaches 0.05; papers
003 and 004 both show what a wrong route costs. What differs: each bundle has its own threshold, the fallback can be any category,
and soft routing blends the experts of the most probable categories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.errors import OptionError
from models.lab import Float32Array
from models.options import AUTO

Reason = Literal["confident", "below_threshold", "unmapped", "requested"]

TOP = 5  # categories in the decision record
SOFT_CATEGORIES = 3  # the most categories that share a soft route; the fallback takes the rest


@dataclass(frozen=True)
class Route:
    """The category of a picture, and why it was chosen.

    `category` is the fallback if `fell_back`. `confidence` is the probability that the threshold rule compared: of the category
    that was chosen, that stayed below the threshold, or that was requested; of *unmapped* if that is the most probable. These
    fields are the result of the threshold rule; a soft route is blended by probability whatever that is. `weights` are those of the
    blend.
    """

    category: str
    confidence: float
    fell_back: bool
    reason: Reason
    threshold: float
    top: tuple[tuple[str, float], ...]
    weights: Mapping[str, float]  # of categories; their sum is 1


class Router:
    """Applies the threshold rule to the probabilities of a classifier.

    Args:
        categories: names of the probability columns except the last, which is *unmapped*.
        fallback: the category of pictures that are unmapped or below the threshold.
        threshold: least probability of the most probable category, 0 to 1.
        others: categories that the classifier does not know but that can be requested.
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

    def check(self, category: str) -> None:
        """Raise an OptionError unless the category is `auto` or one of `choices`."""
        if category != AUTO and category not in self.choices:
            raise OptionError("category", category, (AUTO, *self.choices))

    def scores(self, probabilities: Float32Array) -> dict[str, float]:
        """The probability of every choice, from those of the classifier `(categories + 1,)`.

        The probability of *unmapped* is that of the fallback, unless the classifier knows the fallback, as paper 004's *person*.
        """
        *values, unmapped = probabilities.tolist()
        return {self.fallback: unmapped, **dict(zip(self.categories, values, strict=True))}

    def route(self, probabilities: Float32Array, category: str = AUTO, threshold: float | None = None, soft: bool = False) -> Route:
        """The route of one picture, from its probabilities `(categories + 1,)`.

        Args:
            probabilities: those of the classifier, `(categories + 1,)`.
            category: the requested category, or `auto`.
            threshold: replaces that of the bundle, 0 to 1.
            soft: blend the experts of the most probable categories.

        Raises:
            OptionError: `category` is not one of `choices`, or `threshold` is not within 0 and 1.
        """
        threshold = self.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise OptionError("threshold", threshold, "a number from 0 to 1")
        scores = self.scores(probabilities)
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        top = tuple(ranked[:TOP])
        if category != AUTO:
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
        """The most probable categories, weighted by their probabilities; the fallback gets the rest."""
        ranked = sorted(((name, p) for name, p in scores.items() if name != self.fallback), key=lambda item: -item[1])
        total = max(1.0, sum(p for _, p in ranked))
        weights = {name: p / total for name, p in ranked[:SOFT_CATEGORIES] if p > 0}
        return {**weights, self.fallback: 1.0 - sum(weights.values())}
