"""The Fréchet distance between true and painted pictures, as FID is one, over features of whatever network is at hand.

Distances of different features cannot be compared: the report names the features. Published FIDs are over an Inception of 2015,
whose weights torch-fidelity reads; where they are not at hand there is the trunk of the embedded bundle. That one reads lightness
and would see no colors, so it is shown the planes R, G and B as three gray pictures.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.vgg import VggTrunk
from training.evaluation.study import Witness

SIDE = 64  # pixels a side at which the trunk sees each plane


def frechet_distance(features: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Between the normal distributions with the means and covariances of two samples `(n,d)` and `(m,d)` (Heusel et al. 2017)."""
    gap = features.mean(axis=0) - others.mean(axis=0)
    first, second = (np.cov(each, rowvar=False) for each in (features, others))
    # the trace of the root of a product of covariances is the sum of the roots of its eigenvalues, which are real and not below 0
    crossed = np.sqrt(np.linalg.eigvals(first @ second).real.clip(min=0)).sum()
    return float(gap @ gap + np.trace(first) + np.trace(second) - 2 * crossed)


def trunk_features(trunk: VggTrunk) -> Witness:
    """A witness that sees the mean of the deepest tap of each of the planes R, G and B, one after the other."""
    device = next(trunk.parameters()).device

    def see(pictures: np.ndarray) -> np.ndarray:
        planes = as_tensor(pictures, SIDE).to(device).flatten(0, 1)[:, None] * 100
        taps = trunk(planes)[32].float().mean(dim=(2, 3))
        return taps.reshape(len(pictures), -1).cpu().numpy()

    return without_gradients(see)


def as_tensor(pictures: np.ndarray, side: int) -> Tensor:
    """RGB `(n,3,side,side)` in [0, 1] of bytes `(n,h,w,3)`."""
    rgb = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(rgb, (side, side), mode="bilinear", antialias=True, align_corners=False)


def without_gradients(see: Witness) -> Callable[[np.ndarray], np.ndarray]:
    """The same witness, run for its answer alone."""

    def seen(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return see(pictures)

    return seen
