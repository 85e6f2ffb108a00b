"""One picture under every way of colorizing: each expert of each bundle paints it once, and every route follows from that.

The ways of a bundle: *general* (the fallback's expert alone), *routed*, *soft*, *oracle* (the expert of the true category),
*forced* (that of the likeliest category, however unlikely), *worst* and *best* (that of the greatest and of the least ΔE00: what a
router could do at worst and at best; of the judged bundle alone).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models import chroma
from models.ensemble import Ensemble
from models.imaging import Picture
from models.lab import srgb_to_lab
from models.router import Route
from training.data.manifest import Entry
from training.evaluation.distribution import cell_counts
from training.evaluation.metrics import Truth, scores

Painted = tuple[np.ndarray, dict[str, float]]  # RGB bytes (h,w,3), and its scores
Witness = Callable[[np.ndarray], np.ndarray]  # RGB bytes (ways,h,w,3) -> what is made of them (ways,d)


@dataclass(frozen=True)
class Setting:
    """What all pictures are judged with.

    `bundles` are by the prefix of their ways' names: empty for the one that is judged, `NAME: ` for its rivals. `variants` are
    other settings of the judged one, of which only *routed* is looked at. `mean_ab` and `lent_ab` `(1,2,*,*)` are of all pictures
    and, by the sha256 of each, of another one.
    """

    bundles: Mapping[str, Ensemble]
    variants: Mapping[str, Ensemble]
    mean_ab: Tensor
    lent_ab: Mapping[str, Tensor]
    witnesses: Mapping[str, Witness]

    def witnessed(self, way: str) -> bool:
        """Whether witnesses see a way: all but those that only measure routes, and of rivals the two that matter."""
        prefix, _, own = way.rpartition(": ")
        return own in ("routed", "general") if prefix else own not in ("best", "forced")


@dataclass(frozen=True)
class Study:
    """What came out for one picture. Everything is by the name of the way; `crossing` is ΔE00 by expert, of the judged bundle."""

    category: str
    scores: Mapping[str, Mapping[str, float]]
    crossing: Mapping[str, float]
    routes: Mapping[str, Route]
    probabilities: Mapping[str, Mapping[str, float]]
    seen: Mapping[str, Mapping[str, np.ndarray]]
    colors: Mapping[str, np.ndarray]


def study(setting: Setting, entry: Entry, rgb: np.ndarray) -> Study:
    """Judge every way on a picture of true colors `rgb`, bytes `(h,w,3)`."""
    truth, category = Truth(rgb), entry.category
    picture = Picture(np.array(Image.fromarray(rgb).convert("L")), None, "PNG")
    painted = {"gray": np.repeat(picture.luma[..., None], 3, axis=2), "constant": joined(picture, setting.mean_ab)}
    if (lent := setting.lent_ab.get(entry.sha256)) is not None:
        painted["random"] = joined(picture, lent.float())
    found = {way: scores(each, truth) for way, each in painted.items()}
    routes, probabilities, crossing = {}, {}, {}
    for prefix, ensemble in setting.bundles.items():
        shown = _Shown(ensemble, picture, truth)
        router, painters = ensemble.bundle.router, ensemble.bundle.manifest.categories
        chances = router.scores(shown.probabilities)
        route, soft = router.route(shown.probabilities), router.route(shown.probabilities, soft=True)
        likeliest = max(router.categories, key=chances.__getitem__)
        chosen = {
            "general": painters[router.fallback], "routed": painters[route.category],
            "oracle": painters.get(category, painters[router.fallback]), "forced": painters[likeliest],
        }  # fmt: skip
        if not prefix:
            crossing = {name: shown.expert(name)[1]["delta_e"] for name in ensemble.bundle.manifest.experts}
            chosen |= {"worst": max(crossing, key=crossing.__getitem__), "best": min(crossing, key=crossing.__getitem__)}
        ways = {way: shown.expert(name) for way, name in chosen.items()} | {"soft": shown.blend(soft)}
        for way, (each, score) in ways.items():
            painted[prefix + way], found[prefix + way] = each, score
        routes[f"{prefix}routed"], probabilities[f"{prefix}routed"] = route, chances
    for way, ensemble in setting.variants.items():
        painted[way] = joined(picture, ensemble.paint(picture)[0])
        found[way] = scores(painted[way], truth)
    painted["truth"], found["truth"] = rgb, scores(rgb, truth)
    looked_at = [way for way in painted if setting.witnessed(way)]
    stack = np.stack([painted[way] for way in looked_at])
    seen = {name: dict(zip(looked_at, witness(stack), strict=True)) for name, witness in setting.witnesses.items()}
    colors = {way: color_counts(painted[way]) for way in looked_at}
    return Study(category, found, crossing, routes, probabilities, seen, colors)


class _Shown:
    """What a bundle makes of one picture; each expert paints, and is scored, once."""

    def __init__(self, ensemble: Ensemble, picture: Picture, truth: Truth) -> None:
        self.ensemble, self.picture, self.truth = ensemble, picture, truth
        self.probabilities, self._paint = ensemble.inspect(picture)
        self._ab: dict[str, Tensor] = {}
        self._done: dict[str, Painted] = {}

    def expert(self, name: str) -> Painted:
        """The picture by one expert, and its scores."""
        if name not in self._done:
            self._ab[name] = self._paint(name)
            self._done[name] = self._scored(self._ab[name])
        return self._done[name]

    def blend(self, route: Route) -> Painted:
        """The picture by all experts of a route."""
        shares = self.ensemble.shares(route)
        alone = {name: self.expert(name) for name in shares}
        return alone[next(iter(shares))] if len(shares) == 1 else self._scored(self.ensemble.blend(route, self._ab))

    def _scored(self, ab: Tensor) -> Painted:
        rgb = joined(self.picture, ab)
        return rgb, scores(rgb, self.truth)


def joined(picture: Picture, ab: Tensor) -> np.ndarray:
    """RGB bytes `(h,w,3)` of a gray picture and ab at any resolution, as serving joins them."""
    rgb: np.ndarray = chroma.join_rgb(picture.luma, chroma.chroma_planes(picture.luma, ab))
    return rgb


def color_counts(rgb: np.ndarray) -> np.ndarray:
    """How many pixels of RGB bytes `(h,w,3)` lie in each cell of the ab plane."""
    lab = srgb_to_lab(torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255)
    return cell_counts(lab[0, 1:].numpy()).astype(np.uint32)
