"""Scores of a colorized picture against the true one.

On RGB tensors `(n,3,h,w)` in [0, 1], all returning `(n,)`, as training looks at batches; and on bytes `(h,w,3)`, as evaluation
looks at one picture after another through the very code that serves it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.lab import rgb_to_luma

PSNR_CAP = 60.0  # dB; a picture that is all gray in truth would otherwise count infinitely
AUC_LIMIT = 150  # units of ab error up to which the curve is taken
COLOR_EDGE = 12.0  # change of the true ab over two pixels that makes an edge between colors
EDGE_NEAR, EDGE_FAR = 1, 6  # pixels on either side of an edge

Floats = NDArray[np.float32]


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, at most 60."""
    error = (picture - truth).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-12))).clamp(max=PSNR_CAP)


def colorfulness(picture: Tensor) -> Tensor:
    """Hasler and Suesstrunk 2003: 0 for gray, about 15 slightly, 45 quite, 80 extremely colorful."""
    red, green, blue = (picture * 255).unbind(1)
    opponents = torch.stack((red - green, (red + green) / 2 - blue), dim=1).flatten(2)
    return opponents.std(dim=2, correction=0).norm(dim=1) + 0.3 * opponents.mean(dim=2).norm(dim=1)


def gray(picture: Tensor) -> Tensor:
    """The picture without its color: its BT.601 luma, in whole levels as a gray file has it, on all channels."""
    return ((rgb_to_luma(picture) * 255).round() / 255).expand_as(picture)


def lab(picture: np.ndarray) -> Floats:
    """CIELAB `(h,w,3)` of RGB bytes, by scikit-image."""
    from skimage.color import rgb2lab

    return rgb2lab(picture).astype(np.float32)


def delta_e00(picture: Floats, truth: Floats) -> Floats:
    """ΔE00 `(h,w)` between two CIELAB pictures `(h,w,3)`, by scikit-image."""
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(truth, picture), dtype=np.float32)


def ciede2000(picture: np.ndarray, truth: np.ndarray) -> float:
    """Mean ΔE00 between two RGB pictures `(h,w,3)` of bytes."""
    return float(delta_e00(lab(picture), lab(truth)).mean())


@dataclass(frozen=True)
class Truth:
    """The true colors of a picture, RGB bytes `(h,w,3)`, and what is measured of them once for all ways of colorizing."""

    rgb: np.ndarray

    @cached_property
    def lab(self) -> Floats:
        """In CIELAB."""
        return lab(self.rgb)

    def contrast(self, painted: Floats, reach: int) -> float | None:
        """How much of the true change of color across the edges between colors is painted, `reach` pixels to either side.

        1 is all of it, 0 none, as in a gray picture. None for a picture without such edges. `painted` is CIELAB `(h,w,3)`.
        """
        kept = total = 0.0
        for axis in (0, 1):
            true, mine = (np.moveaxis(each[..., 1:], axis, 0) for each in (self.lab, painted))
            if len(true) <= 2 * EDGE_FAR:
                continue
            near = np.linalg.norm(_steps(true, 1), axis=2)[EDGE_FAR - 1 : len(true) - EDGE_FAR - 1]
            edges = near > COLOR_EDGE
            wanted, given = (_steps(each, reach)[EDGE_FAR - reach :][: len(near)][edges] for each in (true, mine))
            kept, total = kept + float((wanted * given).sum()), total + float((wanted * wanted).sum())
        return kept / total if total else None


def scores(picture: np.ndarray, truth: Truth) -> dict[str, float]:
    """Every score of one picture, RGB bytes `(h,w,3)`.

    - `psnr`: in dB, on RGB.
    - `ssim`: structural similarity on RGB (Wang et al. 2004, their Gaussian window), by scikit-image. 1 is equal. Pictures that are
      smaller than its window of 11 px have none.
    - `delta_e`: mean ΔE00.
    - `ab_mae`: mean absolute error of a and b, in CIELAB units.
    - `ab_auc`: area under the curve of the share of pixels whose ab error is within a limit, over limits from 0 to 150 (Zhang et
      al. 2016, section 3.1, without their rebalancing). 1 is perfect.
    - `colorfulness`: Hasler and Suesstrunk 2003.
    - `edge_near`, `edge_far`: `Truth.contrast` 1 px and 6 px to either side of the edges between true colors. Color that bleeds
      over an edge loses contrast near it and not far from it, so that 1 - near / far is how much bleeds, whatever the saturation.
      Our own definition, for want of a published one. A picture without such edges has none.
    """
    painted = lab(picture)
    error = np.linalg.norm(painted[..., 1:] - truth.lab[..., 1:], axis=2)
    contrasts = {"edge_near": truth.contrast(painted, EDGE_NEAR), "edge_far": truth.contrast(painted, EDGE_FAR)}
    pair = [torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].float() / 255 for each in (picture, truth.rgb)]
    return {
        "psnr": float(psnr(*pair)),
        **_ssim(picture, truth.rgb),
        "delta_e": float(delta_e00(painted, truth.lab).mean()),
        "ab_mae": float(np.abs(painted[..., 1:] - truth.lab[..., 1:]).mean()),
        "ab_auc": float(1 - np.minimum(error, AUC_LIMIT).mean() / AUC_LIMIT),
        "colorfulness": float(colorfulness(pair[0])),
        **{name: value for name, value in contrasts.items() if value is not None},
    }


def _steps(plane: Floats, reach: int) -> Floats:
    """The change `(h - 2 reach,w,c)` along the first axis, from `reach` before to `reach` behind."""
    return plane[2 * reach :] - plane[: len(plane) - 2 * reach]


def _ssim(picture: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    from skimage.metrics import structural_similarity

    if min(truth.shape[:2]) < 11:
        return {}
    options = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return {"ssim": float(structural_similarity(picture, truth, **options))}
