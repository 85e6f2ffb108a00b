"""Scores of a colorized picture against the true one.

On RGB tensors `(n,3,h,w)` in [0, 1], returning `(n,)`, for batches in training; and on bytes `(h,w,3)`, for single pictures in
evaluation.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.lab import rgb_to_luma
from training.data.packs import rgb_tensor

MAX_PSNR = 60.0  # dB; pictures that are gray in truth would otherwise have an infinite PSNR
AUC_LIMIT = 150  # CIELAB units of ab error up to which the curve is integrated
COLOR_EDGE = 12.0  # change of the true ab over two pixels that counts as an edge between colors
EDGE_NEAR, EDGE_FAR = 1, 6  # pixels to either side of an edge

Floats = NDArray[np.float32]


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, at most 60."""
    error = (picture - truth).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-12))).clamp(max=MAX_PSNR)


def colorfulness(picture: Tensor) -> Tensor:
    """Hasler and Suesstrunk 2003: 0 is gray, about 15 slightly colorful, 45 quite colorful, 80 extremely colorful."""
    red, green, blue = (picture * 255).unbind(1)
    opponents = torch.stack((red - green, (red + green) / 2 - blue), dim=1).flatten(2)
    value: Tensor = opponents.std(dim=2, correction=0).norm(dim=1) + 0.3 * opponents.mean(dim=2).norm(dim=1)
    return value


def gray(picture: Tensor) -> Tensor:
    """The picture without color: its BT.601 luma in whole levels on all channels."""
    return ((rgb_to_luma(picture) * 255).round() / 255).expand_as(picture)


def lab(picture: np.ndarray) -> Floats:
    """CIELAB `(h,w,3)` of RGB bytes, by scikit-image."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(picture), dtype=np.float32)


def delta_e00(picture: Floats, truth: Floats) -> Floats:
    """ΔE00 `(h,w)` between two CIELAB pictures `(h,w,3)`, by scikit-image."""
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(truth, picture), dtype=np.float32)


def ciede2000(picture: np.ndarray, truth: np.ndarray) -> float:
    """Mean ΔE00 between two RGB pictures `(h,w,3)` of bytes."""
    return Truth(truth).delta_e00(picture)


@dataclass(frozen=True)
class Truth:
    """The true colors of a picture, RGB bytes `(h,w,3)`, with values that are computed once for all methods."""

    rgb: np.ndarray

    @cached_property
    def lab(self) -> Floats:
        """CIELAB `(h,w,3)`."""
        return lab(self.rgb)

    def delta_e00(self, picture: np.ndarray) -> float:
        """Mean ΔE00 of RGB bytes `(h,w,3)`."""
        return float(delta_e00(lab(picture), self.lab).mean())

    def contrast(self, predicted: Floats, reach: int) -> float | None:
        """The share of the true contrast across edges between colors that is predicted, `reach` pixels to either side.

        1 for all of it, 0 for a gray picture, None for a picture without such edges. `predicted` is CIELAB `(h,w,3)`.
        """
        kept = total = 0.0
        for axis in (0, 1):
            true_ab, predicted_ab = (np.moveaxis(picture[..., 1:], axis, 0) for picture in (self.lab, predicted))
            if len(true_ab) <= 2 * EDGE_FAR:
                continue
            near = np.linalg.norm(_steps(true_ab, 1), axis=2)[EDGE_FAR - 1 : len(true_ab) - EDGE_FAR - 1]
            edges = near > COLOR_EDGE
            true_steps, predicted_steps = (
                _steps(ab, reach)[EDGE_FAR - reach :][: len(near)][edges] for ab in (true_ab, predicted_ab)
            )
            kept += float((true_steps * predicted_steps).sum())
            total += float((true_steps * true_steps).sum())
        return kept / total if total else None


def scores(picture: np.ndarray, truth: Truth) -> dict[str, float]:
    """All scores of one picture, RGB bytes `(h,w,3)`.

    - `psnr`: in dB, on RGB.
    - `ssim`: structural similarity on RGB (Wang et al. 2004, with a Gaussian window), by scikit-image. 1 is equal. Not defined for
      pictures that are smaller than the window of 11 px.
    - `delta_e`: mean ΔE00.
    - `ab_mae`: mean absolute error of a and b, in CIELAB units.
    - `ab_auc`: area under the curve of the share of pixels whose ab error is within a limit, over limits from 0 to 150 (Zhang et
      al. 2016, section 3.1, without their rebalancing). 1 is perfect.
    - `colorfulness`: Hasler and Suesstrunk 2003.
    - `edge_near`, `edge_far`: `Truth.contrast` 1 px and 6 px to either side of the edges between true colors. Color that bleeds
      over an edge reduces the contrast near it but not far from it, so that 1 - near / far measures bleeding independently of
      saturation. This definition is our own. Not defined for pictures without such edges.
    """
    predicted = lab(picture)
    error = np.linalg.norm(predicted[..., 1:] - truth.lab[..., 1:], axis=2)
    contrasts = {"edge_near": truth.contrast(predicted, EDGE_NEAR), "edge_far": truth.contrast(predicted, EDGE_FAR)}
    pair = [rgb_tensor(np.array(pixels)) for pixels in (picture, truth.rgb)]
    return {
        "psnr": float(psnr(*pair)),
        **_ssim(picture, truth.rgb),
        "delta_e": float(delta_e00(predicted, truth.lab).mean()),
        "ab_mae": float(np.abs(predicted[..., 1:] - truth.lab[..., 1:]).mean()),
        "ab_auc": float(1 - np.minimum(error, AUC_LIMIT).mean() / AUC_LIMIT),
        "colorfulness": float(colorfulness(pair[0])),
        **{name: value for name, value in contrasts.items() if value is not None},
    }


def _steps(plane: Floats, reach: int) -> Floats:
    """The differences `(h - 2 reach,w,c)` along the first axis, from `reach` pixels before to `reach` pixels after."""
    return plane[2 * reach :] - plane[: len(plane) - 2 * reach]


def _ssim(picture: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    from skimage.metrics import structural_similarity

    if min(truth.shape[:2]) < 11:
        return {}
    options = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return {"ssim": float(structural_similarity(picture, truth, **options))}
