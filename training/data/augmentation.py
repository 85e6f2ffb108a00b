"""Augmentation of training pictures: crops, flips, rotations, blur, tone and grain, as pure functions of a random generator."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.config.recipe import DataOptions
from training.data.old_prints import noise, old_prints
from training.data.packs import L_SCALE, Pack


def augmented_lab(pack: Pack, indices: np.ndarray, size: int, data: DataOptions, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """L `(n,1,size,size)` in [0, 100] and ab `(n,2,size,size)` in CIELAB units of some pictures, augmented as `data` says.

    *full* crops, stretches and flips, and varies sharpness and tone; *old_prints* also makes most pictures look like old prints;
    *flips_and_rotations* flips, and rotates by quarter turns; *flips* flips horizontally; *none* only resizes.
    """
    full, count = data.augmentation in ("full", "old_prints"), len(indices)
    lab = _random_crops(pack, indices, rng) if full else torch.from_numpy(pack.rows(indices)).float()
    lab = F.interpolate(lab, (size, size), mode="bilinear", antialias=True, align_corners=False)
    if data.augmentation != "none":
        flipped = torch.from_numpy(rng.random(count) < 0.5)
        lab[flipped] = lab[flipped].flip(-1)
    if data.augmentation == "flips_and_rotations":
        quarters = rng.integers(4, size=count).tolist()
        lab = torch.stack([picture.rot90(turns, (-2, -1)) for picture, turns in zip(lab, quarters, strict=True)])
    L, ab = lab[:, :1] / L_SCALE, lab[:, 1:] - 128
    if full:
        L = _vary_tone(_blur(L, data.min_scale, rng), rng)
    return old_prints(L, ab, rng) if data.augmentation == "old_prints" else (L, ab)


def _random_crops(pack: Pack, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Crops of one shape for the whole batch, at random positions: 65 to 100% of the side, and slightly wide or tall."""
    side = pack.side
    height, width = (np.clip(rng.uniform(0.65, 1.1) * rng.uniform(0.9, 1.1, 2), 0.6, 1.0) * side).astype(int)
    tops = rng.integers(0, side - height + 1, len(indices))
    lefts = rng.integers(0, side - width + 1, len(indices))
    if isinstance(pack.pixels, Tensor):
        return _crops_on_device(pack.pixels, pack.positions[indices], tops, lefts, height, width)
    crops = [
        pack.row(index)[:, top : top + height, left : left + width] for index, top, left in zip(indices, tops, lefts, strict=True)
    ]
    return torch.from_numpy(np.stack(crops)).float()


def _crops_on_device(pixels: Tensor, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, height: int, width: int) -> Tensor:
    """Crops `(n,3,height,width)` of pictures in the memory of a device."""
    index, top, left = torch.from_numpy(np.stack((rows, tops, lefts))).to(pixels.device)
    y, x = (start[:, None] + torch.arange(side, device=pixels.device) for start, side in ((top, height), (left, width)))
    crops: Tensor = pixels[index[:, None, None], :, y[:, :, None], x[:, None, :]]
    return crops.permute(0, 3, 1, 2).float()


def _blur(L: Tensor, min_scale: float, rng: np.random.Generator) -> Tensor:
    """Reduce the detail of half of the pictures, so that the sharpness of a source does not reveal the category."""
    scale = rng.uniform(min_scale, 0.9)
    chosen = torch.from_numpy(rng.random(len(L)) < 0.5)
    if chosen.any():
        small = F.interpolate(L[chosen], scale_factor=scale, mode="bilinear", antialias=True, align_corners=False)
        L[chosen] = F.interpolate(small, L.shape[-2:], mode="bilinear", align_corners=False)
    return L


def _vary_tone(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary contrast, brightness and grain of each picture, as between prints and scans."""
    shape = (len(L), 1, 1, 1)
    contrast = torch.from_numpy(rng.uniform(0.8, 1.15, shape)).to(L)
    brightness = torch.from_numpy(rng.uniform(-8, 8, shape)).to(L)
    grain = torch.from_numpy(rng.uniform(0, 2.5, shape) * (rng.random(shape) < 0.3)).to(L)
    return ((L - 50) * contrast + 50 + brightness + grain * noise(L, L.shape, rng)).clamp(0, 100)
