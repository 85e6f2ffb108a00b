"""The Fréchet distance between colorized and true pictures, as FID, over the features of any network.

Distances over different features are not comparable, so the report names the features. Published FIDs use an Inception network of
2015, which torch-fidelity loads; where its weights are not available there is the trunk of the embedded bundle. That trunk reads
lightness and would not see colors, so it reads the R, G and B planes as three gray pictures.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.vgg import VggTrunk

SIDE = 64  # pixels a side at which the trunk reads each plane

FeatureExtractor = Callable[[np.ndarray], np.ndarray]  # RGB bytes (n,h,w,3) -> features (n,d)


def frechet_distance(features: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Between normal distributions with the means and covariances of two samples `(n,d)` and `(m,d)` (Heusel et al. 2017)."""
    difference = features.mean(axis=0) - others.mean(axis=0)
    first, second = (np.cov(sample, rowvar=False) for sample in (features, others))
    # the trace of the root of a product of covariances is the sum of the roots of its eigenvalues, which are real and not negative
    cross_term = np.sqrt(np.linalg.eigvals(first @ second).real.clip(min=0)).sum()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross_term)


def trunk_features(trunk: VggTrunk) -> FeatureExtractor:
    """A feature extractor: the means of the deepest tap for the planes R, G and B, concatenated."""
    device = next(trunk.parameters()).device

    def extract(pictures: np.ndarray) -> np.ndarray:
        planes = resized_rgb(pictures, SIDE).to(device).flatten(0, 1)[:, None] * 100
        taps = trunk(planes)[32].float().mean(dim=(2, 3))
        features: np.ndarray = taps.reshape(len(pictures), -1).cpu().numpy()
        return features

    return in_inference_mode(extract)


def resized_rgb(pictures: np.ndarray, side: int) -> Tensor:
    """RGB `(n,3,side,side)` in [0, 1] of bytes `(n,h,w,3)`."""
    rgb = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(rgb, (side, side), mode="bilinear", antialias=True, align_corners=False)


def in_inference_mode(extract: FeatureExtractor) -> FeatureExtractor:
    """The same feature extractor without gradients."""

    def extract_features(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return extract(pictures)

    return extract_features
