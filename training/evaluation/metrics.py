"""Scores of a coloured picture against the true one, on RGB tensors `(n,3,h,w)` in [0, 1]; all return `(n,)`."""

import numpy as np
import torch
from torch import Tensor

from models.lab import luma

PSNR_CAP = 60.0  # dB; a picture that is all grey in truth would otherwise count infinitely


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, at most 60."""
    error = (picture - truth).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-12))).clamp(max=PSNR_CAP)


def colourfulness(picture: Tensor) -> Tensor:
    """Hasler and Suesstrunk 2003: 0 for grey, about 15 slightly, 45 quite, 80 extremely colourful."""
    red, green, blue = (picture * 255).unbind(1)
    opponents = torch.stack((red - green, (red + green) / 2 - blue), dim=1).flatten(2)
    return opponents.std(dim=2, correction=0).norm(dim=1) + 0.3 * opponents.mean(dim=2).norm(dim=1)


def grey(picture: Tensor) -> Tensor:
    """The picture without its colour: its BT.601 luma, in whole levels as a grey file has it, on all channels."""
    return ((luma(picture) * 255).round() / 255).expand_as(picture)


def ciede2000(picture: np.ndarray, truth: np.ndarray) -> float:
    """Mean ΔE00 between two RGB pictures `(h,w,3)` of bytes, by scikit-image."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    return float(deltaE_ciede2000(rgb2lab(truth), rgb2lab(picture)).mean())
