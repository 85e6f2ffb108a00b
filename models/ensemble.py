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
from models.hints import check_points, hint_planes, spread_hints
from models.imaging import Picture
from models.lab import Float32Array
from models.manifest import InputCard
from models.network_input import TRUNK_STRIDE, network_input
from models.networks import Networks
from models.options import Hint, PointOptions, RouteOptions
from models.plausible import PlausibleColor, plausible_colors
from models.router import Route
from models.tones import normalized_tones


class FeatureCache:
    """What the networks read of one picture, computed once: lightness at each working size, and the features of each trunk."""

    def __init__(self, picture: Picture, bundle: BundleHeader, networks: Networks, hints: Sequence[Hint] = ()) -> None:
        self._picture, self._bundle, self._networks, self._hints = picture, bundle, networks, hints
        self._lightness: dict[tuple[object, ...], Float32Array] = {}
        self._features: dict[str, Any] = {}

    def lightness(self, card: InputCard, stride: int) -> Float32Array:
        """Lightness `(1,1,h,w)` in [0, 100] at the working size of a network, with sides that are multiples of its stride."""
        key = card.working_size, stride, card.normalize_tones, card.fit
        if key not in self._lightness:
            L = network_input(self._picture.luma, card.working_size, stride, card.fit == "square")
            self._lightness[key] = normalized_tones(L) if card.normalize_tones else L
        return self._lightness[key]

    def features(self, trunk: str) -> Any:
        """The features of a trunk of the bundle."""
        if trunk not in self._features:
            card = self._bundle.manifest.trunks[trunk]
            self._features[trunk] = self._networks.features(trunk, self.lightness(card, TRUNK_STRIDE))
        return self._features[trunk]

    def probabilities(self) -> Float32Array:
        """Those of the classifier `(categories + 1,)`."""
        return self._networks.probabilities(self.features(self._bundle.manifest.router.trunk))

    def ab(self, expert: str) -> Float32Array:
        """The chrominance `(1,2,h',w')` that an expert predicts."""
        card = self._bundle.manifest.experts[expert]
        L = self.lightness(card, self._networks.stride(expert))
        features = None if card.trunk is None else self.features(card.trunk)
        planes = hint_planes(self._hints, self._picture.luma.shape, L.shape[2:]) if self._hints else None
        return self._networks.ab(expert, L, features, planes)

    def distribution(self, expert: str, at: tuple[float, float]) -> tuple[Float32Array, Float32Array] | None:
        """As `Networks.distribution`."""
        card = self._bundle.manifest.experts[expert]
        features = None if card.trunk is None else self.features(card.trunk)
        return self._networks.distribution(expert, self.lightness(card, self._networks.stride(expert)), features, at)


class Ensemble:
    """A bundle, and an engine that runs its networks."""

    def __init__(self, bundle: BundleHeader, networks: Networks) -> None:
        self.bundle, self._networks = bundle, networks

    def route(self, picture: Picture, options: RouteOptions | None = None) -> Decision:
        """The decision record of a picture, without colorizing it.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, options = Stopwatch(), options or RouteOptions()
        with watch.stage("route"):
            route = self._route(self._cache(picture), options)
        return self._decision(route, watch)

    def predict(
        self, picture: Picture, options: RouteOptions | None = None, hints: Sequence[Hint] = ()
    ) -> tuple[Float32Array, Decision]:
        """Chrominance ab `(1,2,h',w')` in CIELAB units, and the decision record.

        Its resolution is that of the experts; with hints, that at which it is merged with luma.

        Raises:
            OptionError: the requested category is not one of the bundle's, or a hint is outside of the picture.
        """
        check_points("hints", hints, picture.width, picture.height)
        watch, options = Stopwatch(), options or RouteOptions()
        features = FeatureCache(picture, self.bundle, self._networks, hints)
        with watch.stage("route"):
            route = self._route(features, options)
        with watch.stage("predict"):
            ab = self._predict(route, features)
        if hints:
            with watch.stage("hints"):
                ab = spread_hints(picture.luma, ab, hints)
        return ab, self._decision(route, watch).model_copy(update={"hints": len(hints)})

    def predict_variants(self, picture: Picture, options: RouteOptions, count: int) -> list[tuple[Float32Array, Decision]]:
        """As `predict`, for each of up to `count` of the most probable categories that have different experts.

        All share one pass of each trunk. The first is what `predict` returns.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, manifest = Stopwatch(), self.bundle.manifest
        features = self._cache(picture)
        with watch.stage("route"):
            route = self._route(features, options)
            routes = {tuple(self.expert_weights(route)): route}
            for category, _ in route.top:
                other = self.bundle.router.route(features.probabilities(), category, options.threshold)
                routes.setdefault((manifest.categories[category],), other)
        predicted = []
        for chosen in list(routes.values())[:count]:
            with watch.stage("predict"):
                ab = self._predict(chosen, features)
            predicted.append((ab, self._decision(chosen, watch)))
        return predicted

    def plausible_colors(self, picture: Picture, options: PointOptions) -> tuple[list[PlausibleColor], Decision]:
        """The colors that a point of a picture may have, most probable first, and the decision record.

        Raises:
            OptionError: the point is outside of the picture, or no expert of the route predicts a distribution.
        """
        check_points("point", [options], picture.width, picture.height)
        watch = Stopwatch()
        features = self._cache(picture)
        with watch.stage("route"):
            route = self._route(features, options)
        at = options.y / picture.height, options.x / picture.width
        with watch.stage("predict"):
            distributions = [
                (*found, weight)
                for expert, weight in self.expert_weights(route).items()
                if (found := features.distribution(expert, at)) is not None
            ]
        if not distributions:
            names = " and ".join(self.expert_weights(route))
            valid = f"one with another expert: {names} predicts a color for each point, and no distribution"
            raise OptionError("category", route.category, valid)
        luma = int(picture.luma[int(options.y), int(options.x)])
        return plausible_colors(luma, distributions, options.count), self._decision(route, watch)

    def inspect(self, picture: Picture) -> tuple[Float32Array, Callable[[str], Float32Array]]:
        """For evaluating routes: the classifier's probabilities `(categories + 1,)`, and a function from the name of an expert to
        ab.

        All predictions share one pass of each trunk.
        """
        features = self._cache(picture)
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

    def _cache(self, picture: Picture) -> FeatureCache:
        return FeatureCache(picture, self.bundle, self._networks)

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
