"""A loaded bundle, ready to route pictures and to predict their chrominance.

Papers 003 and 004 classify a picture and then colorize it. What differs: the classifier and the experts read one pass of a shared
trunk, and a soft route blends several experts. Pictures are processed one at a time, because on a CPU a batch brings nothing: one
picture keeps all cores busy.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from models import chroma
from models.bundle import Bundle
from models.colorizers import TapColorizer
from models.decision import Candidate, Decision, ExpertShare, Stopwatch
from models.imaging import Picture
from models.manifest import InputCard
from models.network_input import network_input
from models.options import RouteOptions
from models.router import Route
from models.runtime import Runtime
from models.tones import normalized_tones
from models.vgg import STRIDE, Taps


class FeatureCache:
    """What the networks read of one picture, computed once: lightness at each working size, and the taps of each trunk."""

    def __init__(self, picture: Picture, bundle: Bundle, runtime: Runtime) -> None:
        self._picture, self._bundle, self._runtime = picture, bundle, runtime
        self._lightness: dict[tuple[int, int, bool], Tensor] = {}
        self._taps: dict[str, Taps] = {}

    def lightness(self, card: InputCard, stride: int) -> Tensor:
        """Lightness `(1,1,h,w)` in [0, 100] at the working size of a network, with sides that are multiples of its stride."""
        key = card.working_size, stride, card.normalize_tones
        if key not in self._lightness:
            L = network_input(self._picture.luma, card.working_size, stride)
            self._lightness[key] = self._runtime.to_device(normalized_tones(L) if card.normalize_tones else L)
        return self._lightness[key]

    def taps(self, trunk: str) -> Taps:
        """The taps of a trunk of the bundle."""
        if trunk not in self._taps:
            card = self._bundle.manifest.trunks[trunk]
            self._taps[trunk] = self._bundle.trunks[trunk](self.lightness(card, STRIDE))
        return self._taps[trunk]


class Ensemble:
    """A bundle with its trunks and classifier on the device of the runtime."""

    def __init__(self, bundle: Bundle, runtime: Runtime | None = None) -> None:
        self.bundle = bundle
        self.runtime = runtime or Runtime()
        for network in (*bundle.trunks.values(), bundle.classifier):
            self.runtime.place(network)

    def route(self, picture: Picture, options: RouteOptions | None = None) -> Decision:
        """The decision record of a picture, without colorizing it.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, options = Stopwatch(), options or RouteOptions()
        with self.runtime.inference(), watch.stage("route"):
            route = self._route(FeatureCache(picture, self.bundle, self.runtime), options)
        return self._decision(route, watch)

    def predict(self, picture: Picture, options: RouteOptions | None = None) -> tuple[Tensor, Decision]:
        """Chrominance ab `(1,2,h',w')` in CIELAB units at the resolution of the experts, and the decision record.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, options = Stopwatch(), options or RouteOptions()
        with self.runtime.inference():
            features = FeatureCache(picture, self.bundle, self.runtime)
            with watch.stage("route"):
                route = self._route(features, options)
            with watch.stage("predict"):
                ab = self.blend(route, {name: self._expert(name, features) for name in self.expert_weights(route)})
        return ab, self._decision(route, watch)

    def predict_variants(self, picture: Picture, options: RouteOptions, count: int) -> list[tuple[Tensor, Decision]]:
        """As `predict`, for each of up to `count` of the most probable categories that have different experts.

        All share one pass of each trunk. The first is what `predict` returns.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, manifest = Stopwatch(), self.bundle.manifest
        with self.runtime.inference():
            features = FeatureCache(picture, self.bundle, self.runtime)
            with watch.stage("route"):
                route = self._route(features, options)
                routes = {tuple(self.expert_weights(route)): route}
                for category, _ in route.top:
                    other = self.bundle.router.route(self._probabilities(features), category, options.threshold)
                    routes.setdefault((manifest.categories[category],), other)
            predicted = []
            for chosen in list(routes.values())[:count]:
                with watch.stage("predict"):
                    ab = self.blend(chosen, {name: self._expert(name, features) for name in self.expert_weights(chosen)})
                predicted.append((ab, self._decision(chosen, watch)))
        return predicted

    def inspect(self, picture: Picture) -> tuple[Tensor, Callable[[str], Tensor]]:
        """For evaluating routes: the classifier's probabilities `(categories + 1,)`, and a function from the name of an expert to
        ab.

        All predictions share one pass of each trunk.
        """
        features = FeatureCache(picture, self.bundle, self.runtime)

        def predict(name: str) -> Tensor:
            with self.runtime.inference():
                return self._expert(name, features)

        with self.runtime.inference():
            return self._probabilities(features), predict

    def expert_weights(self, route: Route) -> dict[str, float]:
        """The experts of a route and their weights, which sum to 1, in descending order."""
        weights: dict[str, float] = {}
        for category, weight in route.weights.items():
            expert = self.bundle.manifest.categories[category]
            weights[expert] = weights.get(expert, 0.0) + weight
        return dict(sorted(((name, weight) for name, weight in weights.items() if weight > 0), key=lambda item: -item[1]))

    def blend(self, route: Route, predicted: Mapping[str, Tensor]) -> Tensor:
        """The weighted mean of the ab `(1,2,*,*)` that the experts of a route predicted, at the resolution of the heaviest."""
        (first, weight), *others = self.expert_weights(route).items()
        height, width = predicted[first].shape[-2:]
        blended = predicted[first] * weight
        return sum((chroma.resize(predicted[name], (height, width)) * weight for name, weight in others), blended)

    def _route(self, features: FeatureCache, options: RouteOptions) -> Route:
        return self.bundle.router.route(
            self._probabilities(features), options.category, options.threshold, soft=options.routing == "soft"
        )

    def _probabilities(self, features: FeatureCache) -> Tensor:
        probabilities: Tensor = self.bundle.classifier(features.taps(self.bundle.manifest.router.trunk))
        return probabilities[0].float().cpu()

    def _expert(self, name: str, features: FeatureCache) -> Tensor:
        card, expert = self.bundle.manifest.experts[name], self.runtime.place(self.bundle.experts[name])
        L = features.lightness(card, expert.stride)
        if isinstance(expert, TapColorizer) and card.trunk is not None:
            return expert.forward_from_taps(features.taps(card.trunk), L).float()
        ab: Tensor = expert(L)
        return ab.float()

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
