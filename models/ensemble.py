"""A loaded bundle, ready to route pictures and to predict their chrominance.

Papers 003 and 004 classify a picture and then colorize it. What differs: the classifier and the experts read one pass of a shared
trunk, and a soft route blends several experts. Pictures are processed one at a time, because on a CPU a batch brings nothing: one
picture keeps all cores busy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models import chroma
from models.bundle_header import BundleHeader
from models.decision import Candidate, Decision, ExpertShare, Stopwatch
from models.errors import OptionError
from models.hints import check_points, spread_hints
from models.imaging import Picture
from models.lab import Float32Array
from models.manifest import InputCard
from models.network_input import TRUNK_STRIDE
from models.networks import Networks
from models.options import Hint, PointOptions, RouteOptions
from models.picture_inputs import PictureInputs
from models.plausible import Distribution, PlausibleColor, plausible_colors
from models.router import Route


class FeatureCache:
    """What the networks compute of one picture, once: the features of each trunk, and from them probabilities and chrominance."""

    def __init__(self, inputs: PictureInputs, bundle: BundleHeader, networks: Networks) -> None:
        self._inputs, self._bundle, self._networks = inputs, bundle, networks
        self._features: dict[str, Any] = {}

    def features(self, trunk: str) -> Any:
        """The features of a trunk of the bundle."""
        if trunk not in self._features:
            card = self._bundle.manifest.trunks[trunk]
            self._features[trunk] = self._networks.features(trunk, self._inputs.lightness(card, TRUNK_STRIDE))
        return self._features[trunk]

    def probabilities(self) -> Float32Array:
        """Those of the classifier `(categories + 1,)`."""
        return self._networks.probabilities(self.features(self._bundle.manifest.router.trunk))

    def ab(self, expert: str) -> Float32Array:
        """The chrominance `(1,2,h',w')` that an expert predicts."""
        card = self._bundle.manifest.experts[expert]
        L = self._inputs.lightness(card, self._networks.stride(expert))
        features = None if card.trunk is None else self.features(card.trunk)
        return self._networks.ab(expert, L, features, self._inputs.hint_planes(L))

    def distribution(self, expert: str, at: tuple[float, float]) -> tuple[Float32Array, Float32Array] | None:
        """As `Networks.distribution`."""
        card = self._bundle.manifest.experts[expert]
        features = None if card.trunk is None else self.features(card.trunk)
        return self._networks.distribution(expert, self._inputs.lightness(card, self._networks.stride(expert)), features, at)


class Ensemble:
    """A bundle, and an engine that runs its networks."""

    def __init__(self, bundle: BundleHeader, networks: Networks) -> None:
        self.bundle, self._networks = bundle, networks

    def route(self, picture: Picture, options: RouteOptions | None = None) -> Decision:
        """The decision record of a picture, without colorizing it.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        return self.route_inputs(PictureInputs.of(picture), options or RouteOptions())

    def predict(
        self, picture: Picture, options: RouteOptions | None = None, hints: Sequence[Hint] = ()
    ) -> tuple[Float32Array, Decision]:
        """Chrominance ab `(1,2,h',w')` in CIELAB units, and the decision record.

        Its resolution is that of the experts; with hints, that at which it is merged with luma.

        Raises:
            OptionError: the requested category is not one of the bundle's, or a hint is outside of the picture.
        """
        check_points("hints", hints, picture.width, picture.height)
        predicted = self.predict_inputs(PictureInputs.of(picture, hints), options or RouteOptions())
        return follow_hints(picture, predicted, hints)

    def predict_variants(self, picture: Picture, options: RouteOptions, count: int) -> list[tuple[Float32Array, Decision]]:
        """As `predict`, for each of up to `count` of the most probable categories whose experts give different colors.

        All share one pass of each trunk. The first is what `predict` returns.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        return self.variants_of_inputs(PictureInputs.of(picture), options, count)

    def plausible_colors(self, picture: Picture, options: PointOptions) -> tuple[list[PlausibleColor], Decision]:
        """The colors that a point of a picture may have, most probable first, and the decision record.

        Raises:
            OptionError: the point is outside of the picture, or no expert of the route predicts a distribution.
        """
        check_points("point", [options], picture.width, picture.height)
        distributions, decision = self.distributions_of_inputs(PictureInputs.of(picture), options)
        return plausible_colors(luma_at(picture, options), distributions, options.count), decision

    def route_inputs(self, inputs: PictureInputs, options: RouteOptions) -> Decision:
        """As `route`."""
        watch = Stopwatch()
        with watch.stage("route"):
            route = self._route(self._cache(inputs), options)
        return self._decision(route, watch)

    def predict_inputs(self, inputs: PictureInputs, options: RouteOptions) -> tuple[Float32Array, Decision]:
        """As `predict`, before `follow_hints`."""
        watch, features = Stopwatch(), self._cache(inputs)
        with watch.stage("route"):
            route = self._route(features, options)
        with watch.stage("predict"):
            ab = self._predict(route, features)
        return ab, self._decision(route, watch)

    def variants_of_inputs(self, inputs: PictureInputs, options: RouteOptions, count: int) -> list[tuple[Float32Array, Decision]]:
        """As `predict_variants`."""
        watch, manifest = Stopwatch(), self.bundle.manifest
        features = self._cache(inputs)
        with watch.stage("route"):
            route = self._route(features, options)
            routes = {tuple(manifest.experts[name].identity for name in self.expert_weights(route)): route}
            for category, _ in route.top:
                other = self.bundle.router.route(features.probabilities(), category, options.threshold)
                routes.setdefault((manifest.experts[manifest.categories[category]].identity,), other)
        predicted = []
        for chosen in list(routes.values())[:count]:
            with watch.stage("predict"):
                ab = self._predict(chosen, features)
            predicted.append((ab, self._decision(chosen, watch)))
        return predicted

    def distributions_of_inputs(self, inputs: PictureInputs, options: PointOptions) -> tuple[list[Distribution], Decision]:
        """The distributions of the experts of a route at a point, with their weights, and the decision record.

        Raises:
            OptionError: no expert of the route predicts a distribution.
        """
        watch, features = Stopwatch(), self._cache(inputs)
        with watch.stage("route"):
            route = self._route(features, options)
        weights = self.expert_weights(route)
        at = options.y / inputs.shape[0], options.x / inputs.shape[1]
        with watch.stage("predict"):
            found = {expert: features.distribution(expert, at) for expert in weights}
        distributions = [(*each, weights[expert]) for expert, each in found.items() if each is not None]
        if not distributions:
            valid = f"one with another expert: {' and '.join(weights)} predicts a color for each point, and no distribution"
            raise OptionError("category", route.category, valid)
        return distributions, self._decision(route, watch)

    def networks_of_inputs(self) -> list[tuple[InputCard, int]]:
        """The card and the stride of each network that reads lightness; a stride may load an expert."""
        manifest = self.bundle.manifest
        trunks: list[tuple[InputCard, int]] = [(card, TRUNK_STRIDE) for card in manifest.trunks.values()]
        return trunks + [(card, self._networks.stride(name)) for name, card in manifest.experts.items()]

    def inspect(self, picture: Picture) -> tuple[Float32Array, Callable[[str], Float32Array]]:
        """For evaluating routes: the classifier's probabilities `(categories + 1,)`, and a function from the name of an expert to
        ab.

        All predictions share one pass of each trunk.
        """
        features = self._cache(PictureInputs.of(picture))
        return features.probabilities(), features.ab

    def expert_weights(self, route: Route) -> dict[str, float]:
        """The experts of a route and their weights, which sum to 1, in descending order."""
        weights: dict[str, float] = {}
        for category, weight in route.weights.items():
            expert = self.bundle.manifest.categories[category]
            weights[expert] = weights.get(expert, 0.0) + weight
        return dict(sorted(((name, weight) for name, weight in weights.items() if weight > 0), key=lambda item: -item[1]))

    def blend(self, route: Route, predicted: Mapping[str, Float32Array]) -> Float32Array:
        """The weighted mean of the ab `(1,2,*,*)` that the experts of a route predicted, at the resolution of the heaviest."""
        (first, weight), *others = self.expert_weights(route).items()
        height, width = predicted[first].shape[-2:]
        blended = predicted[first] * weight
        return sum((chroma.resize(predicted[name], (height, width)) * weight for name, weight in others), blended)

    def _cache(self, inputs: PictureInputs) -> FeatureCache:
        return FeatureCache(inputs, self.bundle, self._networks)

    def _route(self, features: FeatureCache, options: RouteOptions) -> Route:
        soft = options.routing == "soft"
        return self.bundle.router.route(features.probabilities(), options.category, options.threshold, soft=soft)

    def _predict(self, route: Route, features: FeatureCache) -> Float32Array:
        return self.blend(route, {name: features.ab(name) for name in self.expert_weights(route)})

    def _decision(self, route: Route, watch: Stopwatch) -> Decision:
        weights = self.expert_weights(route)
        return Decision(
            category=route.category,
            confidence=route.confidence,
            fell_back=route.fell_back,
            reason=route.reason,
            threshold=route.threshold,
            top=[Candidate(category=name, probability=p) for name, p in route.top],
            experts=[ExpertShare(name=name, weight=weight) for name, weight in weights.items()],
            bundle=self.bundle.label,
            working_size=self.bundle.manifest.experts[next(iter(weights))].working_size,
            timings_ms=watch.timings,
        )


def follow_hints(
    picture: Picture, predicted: tuple[Float32Array, Decision], hints: Sequence[Hint]
) -> tuple[Float32Array, Decision]:
    """Predicted ab and the decision record, with hints, if there are any."""
    ab, decision = predicted
    if not hints:
        return ab, decision
    watch = Stopwatch()
    with watch.stage("hints"):
        ab = spread_hints(picture.luma, ab, hints)
    return ab, decision.with_later_stages(watch).model_copy(update={"hints": len(hints)})


def luma_at(picture: Picture, point: PointOptions) -> int:
    """The luma of a point, 0 to 255."""
    return int(picture.luma[int(point.y), int(point.x)])
