"""The sentence that everything here serves: lightness is kept, a router names the category, its expert paints.

Papers 003 and 004 classify, then colour. What differs: the classifier and the experts read one pass of a shared trunk, and a soft
route blends several experts. Pictures come one at a time: on a CPU a batch brings nothing (one picture fills the cores).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models import chroma, encoding, imaging
from models.bundle import Bundle
from models.colorizers import TapColorizer
from models.errors import OptionError
from models.greys import Samples
from models.imaging import Picture
from models.metadata import Keeping, marked
from models.router import Reason, Route
from models.runtime import Runtime
from models.vgg import STRIDE, Taps


@dataclass(frozen=True)
class Options:
    """How to colour a picture.

    Args:
        category: paint with this category's expert; None lets the router choose.
        soft: blend the experts of the likeliest categories.
        threshold: replaces the bundle's, 0 to 1.
        format: `auto`, `jpeg`, `png`, `webp` or `tiff`.
        quality: of JPEG and WebP, 1 to 100.
        saturation: factor on chroma, 0 (grey) to 2.
        metadata: `keep` what the file says beside its pixels, but for a GPS position; `strip` it; or `keep-gps`, all of it.

    Raises:
        OptionError: one of them outside its valid values.
    """

    category: str | None = None
    soft: bool = False
    threshold: float | None = None
    format: str = "auto"
    quality: int = 90
    saturation: float = 1.0
    metadata: Keeping = "keep"

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise OptionError("quality", self.quality, "a whole number from 1 to 100")
        if not 0 <= self.saturation <= 2:
            raise OptionError("saturation", self.saturation, "a number from 0 to 2")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise OptionError("threshold", self.threshold, "a number from 0 to 1")
        if self.metadata not in get_args(Keeping):
            raise OptionError("metadata", self.metadata, get_args(Keeping))
        imaging.check_format(self.format)


@dataclass
class Stopwatch:
    """Milliseconds a stage."""

    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Takes the time of the block."""
        start = perf_counter()
        yield
        self.timings[name] = round(1000 * (perf_counter() - start), 2)


class Candidate(BaseModel):
    """A category and its probability."""

    category: str
    probability: float


class ExpertShare(BaseModel):
    """An expert that painted, and its share of the answer."""

    name: str
    weight: float


class Decision(BaseModel):
    """Why an answer looks as it does: the decision record."""

    model_config = ConfigDict(frozen=True)

    category: str = Field(description="what the threshold rule decided, or what was requested")
    confidence: float = Field(description="probability of the answer that the threshold rule looked at, 0 to 1")
    fell_back: bool = Field(description="whether the rule chose the fallback; a soft route blends by probability all the same")
    reason: Reason
    threshold: float
    top: list[Candidate] = Field(description="up to five categories, likeliest first")
    experts: list[ExpertShare] = Field(description="who painted, or would paint")
    bundle: str = Field(description="name and digest of the bundle")
    working_size: int = Field(description="short side in pixels at which the networks saw the picture, whatever its own size")
    timings_ms: dict[str, float] = Field(description="milliseconds a stage")

    def after(self, watch: Stopwatch) -> "Decision":
        """The same record, with the stages that came before it."""
        return self.model_copy(update={"timings_ms": {**watch.timings, **self.timings_ms}})


class Views:
    """What the networks see of one picture: lightness at each working size and the taps of each trunk, made once."""

    def __init__(self, picture: Picture, bundle: Bundle, runtime: Runtime) -> None:
        self._picture, self._bundle, self._runtime = picture, bundle, runtime
        self._lightness: dict[tuple[int, int], Tensor] = {}
        self._taps: dict[str, Taps] = {}

    def lightness(self, size: int, stride: int) -> Tensor:
        """Lightness `(1,1,h,w)` with a short side of `size`."""
        if (size, stride) not in self._lightness:
            self._lightness[size, stride] = self._runtime.put(imaging.network_input(self._picture.luma, size, stride))
        return self._lightness[size, stride]

    def taps(self, trunk: str) -> Taps:
        """The taps of a trunk of the bundle."""
        if trunk not in self._taps:
            size = self._bundle.manifest.trunks[trunk].working_size
            self._taps[trunk] = self._bundle.trunks[trunk](self.lightness(size, STRIDE))
        return self._taps[trunk]


class Ensemble:
    """A bundle, ready to colour."""

    def __init__(self, bundle: Bundle, runtime: Runtime | None = None) -> None:
        self.bundle = bundle
        self.runtime = runtime or Runtime()
        for network in (*bundle.trunks.values(), bundle.classifier):
            self.runtime.place(network)

    def route(self, picture: Picture, options: Options | None = None) -> Decision:
        """Where the picture would go, without painting it.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, options = Stopwatch(), options or Options()
        with self.runtime.running(), watch.stage("route"):
            route = self._route(Views(picture, self.bundle, self.runtime), options)
        return self._decision(route, watch)

    def probabilities(self, picture: Picture) -> dict[str, float]:
        """The calibrated probability of every category; the fallback's includes what is unmapped."""
        with self.runtime.running():
            return self.bundle.router.scores(self._probabilities(Views(picture, self.bundle, self.runtime)))

    def paint(self, picture: Picture, options: Options | None = None) -> tuple[Tensor, Decision]:
        """Chrominance ab `(1,2,h',w')` in CIELAB units, at the resolution of the experts, and the decision record.

        Raises:
            OptionError: the requested category is not one of the bundle's.
        """
        watch, options = Stopwatch(), options or Options()
        with self.runtime.running():
            views = Views(picture, self.bundle, self.runtime)
            with watch.stage("route"):
                route = self._route(views, options)
            with watch.stage("paint"):
                ab = self.blend(route, {name: self._expert(name, views) for name in self.shares(route)})
        return ab * options.saturation, self._decision(route, watch)

    def studio(self, picture: Picture) -> tuple[Tensor, Callable[[str], Tensor]]:
        """For judging routes: the classifier's probabilities `(categories + 1,)`, and what any expert, by its name, paints.

        All of it comes from one pass of each trunk.
        """
        views = Views(picture, self.bundle, self.runtime)

        def paint(name: str) -> Tensor:
            with self.runtime.running():
                return self._expert(name, views)

        with self.runtime.running():
            return self._probabilities(views), paint

    def shares(self, route: Route) -> dict[str, float]:
        """The experts of a route and their weights, which sum to 1, heaviest first."""
        shares: dict[str, float] = {}
        for category, weight in route.weights.items():
            expert = self.bundle.manifest.categories[category]
            shares[expert] = shares.get(expert, 0.0) + weight
        return dict(sorted(((name, weight) for name, weight in shares.items() if weight > 0), key=lambda item: -item[1]))

    def blend(self, route: Route, painted: Mapping[str, Tensor]) -> Tensor:
        """The weighted mean of what the experts of a route have painted, at the resolution of the heaviest."""
        (first, weight), *others = self.shares(route).items()
        height, width = painted[first].shape[-2:]
        blended = painted[first] * weight
        return sum((chroma.resize(painted[name], (height, width)) * weight for name, weight in others), blended)

    def _route(self, views: Views, options: Options) -> Route:
        return self.bundle.router.route(self._probabilities(views), options.category, options.threshold, options.soft)

    def _probabilities(self, views: Views) -> Tensor:
        probabilities: Tensor = self.bundle.classifier(views.taps(self.bundle.manifest.router.trunk))
        return probabilities[0].float().cpu()

    def _expert(self, name: str, views: Views) -> Tensor:
        card, expert = self.bundle.manifest.experts[name], self.runtime.place(self.bundle.experts[name])
        if isinstance(expert, TapColorizer) and card.trunk is not None:
            return expert.decode(views.taps(card.trunk), views.lightness(card.working_size, expert.stride)).float()
        ab: Tensor = expert(views.lightness(card.working_size, expert.stride))
        return ab.float()

    def _decision(self, route: Route, watch: Stopwatch) -> Decision:
        shares = self.shares(route)
        return Decision(
            category=route.category,
            confidence=route.confidence,
            fell_back=route.fell_back,
            reason=route.reason,
            threshold=route.threshold,
            top=[Candidate(category=name, probability=p) for name, p in route.top],
            experts=[ExpertShare(name=name, weight=weight) for name, weight in shares.items()],
            bundle=self.bundle.label,
            working_size=self.bundle.manifest.experts[next(iter(shares))].working_size,
            timings_ms=watch.timings,
        )


def finish(picture: Picture, ab: Tensor, decision: Decision, options: Options) -> tuple[bytes, str, Decision]:
    """Join ab with the picture's own luma at full size and encode: the file, its format, and the record with all timings.

    The file carries the record without its timings, so that equal pictures stay equal files.
    """
    watch = Stopwatch(dict(decision.timings_ms))
    format = imaging.output_format(options.format, picture)
    record = decision.model_dump_json(exclude={"timings_ms"})
    kept = picture.metadata.kept(options.metadata)
    metadata = replace(kept, xmp=marked(kept.xmp, decision.bundle, decision.category, record))
    with watch.stage("merge"):
        planes = chroma.chroma_planes(picture.luma, ab)
        if format == "jpeg":
            ycbcr = chroma.join_ycbcr(picture.luma, planes)
        elif picture.deep is not None and format in encoding.DEEP:
            rgb: Samples = chroma.join_rgb(picture.deep, planes)
        else:
            rgb = chroma.join_rgb(picture.luma, planes)
    with watch.stage("encode"):
        if format == "jpeg":
            content = encoding.encode_planes(ycbcr, options.quality, metadata)
        else:
            content = encoding.encode_rgb(rgb, picture.alpha, format, options.quality, metadata)
    return content, format, decision.model_copy(update={"timings_ms": watch.timings})


def colorize(
    content: bytes, ensemble: Ensemble, options: Options | None = None, max_pixels: int = imaging.MAX_PIXELS
) -> tuple[bytes, str, Decision]:
    """The whole way of a picture: bytes in, bytes in colour, their format, and the decision record out.

    Raises:
        PictureError: the bytes cannot be used; see `models.errors`.
        OptionError: the requested category is not one of the bundle's.
    """
    options = options or Options()
    ensemble.bundle.router.check(options.category)
    watch = Stopwatch()
    with watch.stage("decode"):
        picture = imaging.decode(content, max_pixels, options.format)
    ab, decision = ensemble.paint(picture, options)
    return finish(picture, ab, decision.after(watch), options)
