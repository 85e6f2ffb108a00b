"""What all pictures of an evaluation are judged with: the bundles, other people's colors, other read-outs, and who looks on."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.bundle import load_bundle
from models.ensemble import Ensemble
from models.lab import srgb_to_lab
from training.data.manifest import Entry, read_pictures
from training.data.packs import decode_rgb
from training.evaluation import perceptual
from training.evaluation.frechet import trunk_features
from training.evaluation.semantic import SemanticJudge
from training.evaluation.study import Setting, Witness

SMALL = 64  # side of the ab that a picture lends to another one
UNMUTED = {"mute": 0.0, "saturation": 1.0}
READ_OUTS = {"routed, T = 1": 1.0, "routed, T = 0.38": 0.38}  # paper 002: the mean, and Zhang et al.'s annealed mean


def build_setting(
    named: Mapping[str, Ensemble], entries: Sequence[Entry], judge: SemanticJudge | None
) -> tuple[Setting, dict[str, str]]:
    """The setting for the pictures of `entries`, and the names under which a report mentions its witnesses.

    `named` are the bundles by prefix. Each picture gets the ab of another one, by a random permutation,
    if there is another one.

    Raises:
        DataError: a picture is gone.
    """
    small = _small_ab(entries)
    mean = torch.stack([small[entry.sha256].float().mean(dim=(2, 3), keepdim=True) for entry in entries]).mean(dim=0)
    order = np.random.default_rng(0).permutation(np.array(sorted(small)))
    others = zip(order.tolist(), np.roll(order, 1).tolist(), strict=True)
    lent = {name: small[other] for name, other in others if other != name}
    witnesses, titles = _witnesses(judge)
    return Setting(named, _read_outs(named[""]) if judge else {}, mean, lent, witnesses), titles


def _small_ab(entries: Sequence[Entry]) -> dict[str, Tensor]:
    found = {}
    for entry, content in read_pictures(entries):
        small = np.array(Image.fromarray(decode_rgb(content)).resize((SMALL, SMALL), Image.Resampling.BOX))
        ab = srgb_to_lab(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)[:, 1:]
        found[entry.sha256] = ab.round().to(torch.int8)
    return found


def _witnesses(judge: SemanticJudge | None) -> tuple[dict[str, Witness], dict[str, str]]:
    """Who looks at the pictures, and under which name the report mentions them."""
    own = load_bundle()
    seen: dict[str, Witness] = {"trunk": trunk_features(own.trunks[own.manifest.router.trunk])}
    names = {"trunk": f"Fréchet distance on the trunk of {own.label}, planes R, G, B"}
    for key, found in (("lpips", perceptual.lpips()), ("inception", perceptual.inception())):
        if found is not None:
            names[key], seen[key] = found
    if judge is not None:
        seen["judge"] = judge.see
    return seen, names


def _read_outs(ensemble: Ensemble) -> dict[str, Ensemble]:
    """The same bundle at other temperatures of the annealed mean, with nothing else done to it; if any expert is read so."""
    experts = ensemble.bundle.experts
    if not any(hasattr(expert, "temperature") for expert in experts.values()):
        return {}
    found = {}
    for name, temperature in READ_OUTS.items():
        others = {key: copy(expert) for key, expert in experts.items()}
        for expert in others.values():
            for option, value in {"temperature": temperature, **UNMUTED}.items():
                if hasattr(expert, option):
                    setattr(expert, option, value)
        found[name] = Ensemble(replace(ensemble.bundle, experts=others), ensemble.runtime)
    return found
