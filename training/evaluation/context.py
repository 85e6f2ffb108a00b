"""The evaluation context: bundles, baselines, readout variants, and feature extractors."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.bundle import load_bundle
from models.lab import srgb_to_lab
from models.torch_networks import TorchEnsemble
from training.data.dataset_index import Entry, read_pictures
from training.data.packs import decode_rgb, rgb_tensor
from training.evaluation.judge import Judge
from training.evaluation.method import BEST, FORCED, GENERAL, ROUTED, Method
from training.metrics import perceptual
from training.metrics.frechet import FeatureExtractor, trunk_features

RANDOM_AB_SIDE = 64  # pixels a side of the ab of another picture, for the method *random*
PLAIN_READOUT = {"mute": 0.0, "saturation": 1.0}
READOUT_VARIANTS = {"routed, T = 1": 1.0, "routed, T = 0.38": 0.38}  # paper 002: the mean, and the annealed mean of Zhang et al.
JUDGE, LPIPS, FEATURES = "judge", "lpips", ("trunk", "inception")  # keys of feature extractors


@dataclass(frozen=True)
class EvaluationContext:
    """The inputs that the evaluations of all pictures share.

    Args:
        bundles: by name; the evaluated one has an empty name.
        variants: the evaluated bundle with other readouts, of which only *routed* is evaluated.
        mean_ab: `(1,2,1,1)`, the mean of all pictures.
        random_ab: `(1,2,*,*)` of another picture, by the sha256 of the picture, for the method *random*.
        extractors: feature extractors by key.
        extractor_names: how the report describes them.
    """

    bundles: Mapping[str, TorchEnsemble]
    variants: Mapping[str, TorchEnsemble]
    mean_ab: Tensor
    random_ab: Mapping[str, Tensor]
    extractors: Mapping[str, FeatureExtractor]
    extractor_names: Mapping[str, str]


def build_context(bundles: Mapping[str, TorchEnsemble], entries: Sequence[Entry], judge: Judge | None) -> EvaluationContext:
    """The context for the pictures of `entries`. Each picture gets the ab of another one, by a random permutation, if there is one.

    Raises:
        DataError: a picture does not exist.
    """
    small = _small_ab(entries)
    mean = torch.stack([small[entry.sha256].float().mean(dim=(2, 3), keepdim=True) for entry in entries]).mean(dim=0)
    order = np.random.default_rng(0).permutation(np.array(sorted(small)))
    pairs = zip(order.tolist(), np.roll(order, 1).tolist(), strict=True)
    random_ab = {picture: small[other] for picture, other in pairs if other != picture}
    extractors, names = _extractors(judge)
    return EvaluationContext(bundles, _variants(bundles[""]) if judge else {}, mean, random_ab, extractors, names)


def has_features(method: Method) -> bool:
    """Whether features are extracted for a method: not for those that only compare routes."""
    return method.name in (ROUTED, GENERAL) if method.bundle else method.name not in (BEST, FORCED)


def _small_ab(entries: Sequence[Entry]) -> dict[str, Tensor]:
    small_ab = {}
    for entry, content in read_pictures(entries):
        small = np.array(Image.fromarray(decode_rgb(content)).resize((RANDOM_AB_SIDE, RANDOM_AB_SIDE), Image.Resampling.BOX))
        ab = srgb_to_lab(rgb_tensor(small))[:, 1:]
        small_ab[entry.sha256] = ab.round().to(torch.int8)
    return small_ab


def _extractors(judge: Judge | None) -> tuple[dict[str, FeatureExtractor], dict[str, str]]:
    embedded = load_bundle()
    extractors: dict[str, FeatureExtractor] = {"trunk": trunk_features(embedded.trunks[embedded.manifest.router.trunk])}
    names = {"trunk": f"Fréchet distance on the trunk of {embedded.label}, planes R, G, B"}
    for key, found in ((LPIPS, perceptual.lpips()), ("inception", perceptual.inception())):
        if found is not None:
            names[key], extractors[key] = found
    if judge is not None:
        extractors[JUDGE] = judge.extract
    return extractors, names


def _variants(ensemble: TorchEnsemble) -> dict[str, TorchEnsemble]:
    """The same bundle with other temperatures of the annealed mean and a plain readout, if any expert has a temperature."""
    experts = ensemble.bundle.experts
    if not any(hasattr(expert, "temperature") for expert in experts.values()):
        return {}
    variants = {}
    for name, temperature in READOUT_VARIANTS.items():
        copies = {key: copy(expert) for key, expert in experts.items()}
        for expert in copies.values():
            for option, value in {"temperature": temperature, **PLAIN_READOUT}.items():
                if hasattr(expert, option):
                    setattr(expert, option, value)
        variants[name] = TorchEnsemble(replace(ensemble.bundle, experts=copies), ensemble.runtime)
    return variants
