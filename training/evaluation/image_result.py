"""The evaluation of one picture with every method. Each expert of each bundle predicts once, and all routes follow from that."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models import chroma
from models.ensemble import Ensemble
from models.imaging import Picture
from models.lab import Float32Array, srgb_to_lab
from models.router import Route
from training.data.dataset_index import Entry
from training.data.packs import rgb_tensor
from training.evaluation import method
from training.evaluation.context import EvaluationContext, has_features
from training.evaluation.method import Method
from training.evaluation.robustness import VariedScores, varied_scores
from training.metrics.color import Truth, scores
from training.metrics.distribution import cell_counts

Colorized = tuple[np.ndarray, dict[str, float]]  # RGB bytes (h,w,3), and their scores


@dataclass(frozen=True)
class ImageResult:
    """The results of one picture.

    Args:
        category: the true one.
        scores: by method and score.
        expert_errors: ΔE00 by expert of the evaluated bundle.
        routes: by the name of the bundle.
        probabilities: of each category, by the name of the bundle.
        features: by feature extractor and method.
        colors: counts of pixels in cells of the ab plane, by method.
        varied: scores of the evaluated bundle on variations of the picture.
    """

    category: str
    scores: Mapping[Method, Mapping[str, float]]
    expert_errors: Mapping[str, float]
    routes: Mapping[str, Route]
    probabilities: Mapping[str, Mapping[str, float]]
    features: Mapping[str, Mapping[Method, np.ndarray]]
    colors: Mapping[Method, np.ndarray]
    varied: Mapping[str, VariedScores]


def evaluate_image(context: EvaluationContext, entry: Entry, rgb: np.ndarray) -> ImageResult:
    """Evaluate all methods on a picture with the true colors `rgb`, bytes `(h,w,3)`."""
    truth = Truth(rgb)
    picture = Picture(np.array(Image.fromarray(rgb).convert("L")), None, "png")
    colorized = _baselines(context, entry, picture, truth)
    routes, probabilities, expert_errors = {}, {}, {}
    for name, ensemble in context.bundles.items():
        experts = _ExpertOutputs(ensemble, picture, truth)
        if not name:
            expert_errors = {expert: truth.delta_e00(experts.rgb(expert)) for expert in ensemble.bundle.manifest.experts}
        colorized |= _bundle_methods(name, experts, entry.category, expert_errors if not name else {})
        routes[name] = ensemble.bundle.router.route(experts.probabilities)
        probabilities[name] = ensemble.bundle.router.scores(experts.probabilities)
    for name, ensemble in context.variants.items():
        output = merge_rgb(picture, ensemble.predict(picture)[0])
        colorized[Method(name=name)] = output, scores(output, truth)
    colorized[Method(name=method.TRUTH)] = rgb, scores(rgb, truth)
    chosen = [each for each in colorized if has_features(each)]
    stack = np.stack([colorized[each][0] for each in chosen])
    features = {key: dict(zip(chosen, extract(stack), strict=True)) for key, extract in context.extractors.items()}
    return ImageResult(
        category=entry.category,
        scores={each: score for each, (_, score) in colorized.items()},
        expert_errors=expert_errors,
        routes=routes,
        probabilities=probabilities,
        features=features,
        colors={each: color_counts(colorized[each][0]) for each in chosen},
        varied=varied_scores(context.bundles[""], rgb, picture.luma, truth.lab[..., 1:]),
    )


def merge_rgb(picture: Picture, ab: Float32Array) -> np.ndarray:
    """RGB bytes `(h,w,3)` of a gray picture and ab at any resolution, merged as at inference."""
    rgb: np.ndarray = chroma.join_rgb(picture.luma, chroma.chroma_planes(picture.luma, ab))
    return rgb


def color_counts(rgb: np.ndarray) -> np.ndarray:
    """The number of pixels of RGB bytes `(h,w,3)` in each cell of the ab plane."""
    lab = srgb_to_lab(rgb_tensor(np.array(rgb)))
    counts: np.ndarray = cell_counts(lab[0, 1:].numpy()).astype(np.uint32)
    return counts


def _baselines(context: EvaluationContext, entry: Entry, picture: Picture, truth: Truth) -> dict[Method, Colorized]:
    outputs = {
        method.GRAY: np.repeat(picture.luma[..., None], 3, axis=2),
        method.CONSTANT: merge_rgb(picture, context.mean_ab.numpy()),
    }
    if (random_ab := context.random_ab.get(entry.sha256)) is not None:
        outputs[method.RANDOM] = merge_rgb(picture, random_ab.float().numpy())
    return {Method(name=name): (output, scores(output, truth)) for name, output in outputs.items()}


def _bundle_methods(
    bundle: str, experts: "_ExpertOutputs", category: str, expert_errors: Mapping[str, float]
) -> dict[Method, Colorized]:
    """The methods of a bundle; *worst* and *best* follow from the errors of its experts, if they are given."""
    router, expert_of = experts.ensemble.bundle.router, experts.ensemble.bundle.manifest.categories
    fallback, probabilities = expert_of[router.fallback], router.scores(experts.probabilities)
    chosen = {
        method.GENERAL: fallback,
        method.ROUTED: expert_of[router.route(experts.probabilities).category],
        method.ORACLE: expert_of.get(category, fallback),
        method.FORCED: expert_of[max(router.categories, key=probabilities.__getitem__)],
    }
    if expert_errors:
        chosen[method.WORST] = max(expert_errors, key=expert_errors.__getitem__)
        chosen[method.BEST] = min(expert_errors, key=expert_errors.__getitem__)
    outputs = {name: experts.colorize(expert) for name, expert in chosen.items()}
    outputs[method.SOFT] = experts.blend(router.route(experts.probabilities, soft=True))
    return {Method(name=name, bundle=bundle): output for name, output in outputs.items()}


class _ExpertOutputs:
    """The outputs of the experts of a bundle for one picture; each expert predicts once, and is scored at most once."""

    def __init__(self, ensemble: Ensemble, picture: Picture, truth: Truth) -> None:
        self.ensemble, self.picture, self.truth = ensemble, picture, truth
        self.probabilities, self._predict = ensemble.inspect(picture)
        self._ab: dict[str, Float32Array] = {}
        self._rgb: dict[str, np.ndarray] = {}
        self._outputs: dict[str, Colorized] = {}

    def rgb(self, expert: str) -> np.ndarray:
        """The picture as one expert colorizes it, without scores, most of which are needed for a few experts only."""
        if expert not in self._rgb:
            self._ab[expert] = self._predict(expert)
            self._rgb[expert] = merge_rgb(self.picture, self._ab[expert])
        return self._rgb[expert]

    def colorize(self, expert: str) -> Colorized:
        """The output of one expert."""
        if expert not in self._outputs:
            self._outputs[expert] = self._scored(self.rgb(expert))
        return self._outputs[expert]

    def blend(self, route: Route) -> Colorized:
        """The blend of all experts of a route."""
        outputs = {name: self.colorize(name) for name in self.ensemble.expert_weights(route)}
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        return self._scored(merge_rgb(self.picture, self.ensemble.blend(route, self._ab)))

    def _scored(self, rgb: np.ndarray) -> Colorized:
        return rgb, scores(rgb, self.truth)
