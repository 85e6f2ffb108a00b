"""Validation during training: color scores at the training size, and grids of sample pictures."""

import io
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from models.lab import lab_to_srgb
from training.data.batches import Batch
from training.metrics import color

Predict = Callable[[Tensor], Tensor]  # L (n,1,h,w) -> ab (n,2,h',w')


def merge_lab(L: Tensor, ab: Tensor) -> Tensor:
    """RGB `(n,3,h,w)` in [0, 1] of lightness `(n,1,h,w)` and chrominance at any resolution."""
    ab = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
    return lab_to_srgb(torch.cat((L, ab), dim=1))


@torch.no_grad()
def color_scores(predict: Predict, batches: Iterable[Batch]) -> dict[str, float]:
    """PSNR minus that of gray (dB), colorfulness over that of the truth, and mean ΔE00."""
    gains, predicted_colorfulness, true_colorfulness, errors = [], [], [], []
    for batch in batches:
        predicted, truth = merge_lab(batch.L, predict(batch.L)), merge_lab(batch.L, batch.ab)
        gains.append(color.psnr(predicted, truth) - color.psnr(color.gray(truth), truth))
        predicted_colorfulness.append(color.colorfulness(predicted))
        true_colorfulness.append(color.colorfulness(truth))
        errors += [color.ciede2000(*pair) for pair in zip(rgb_bytes(predicted), rgb_bytes(truth), strict=True)]
    return {
        "psnr_gain": float(torch.cat(gains).mean()),
        "colorfulness": float(torch.cat(predicted_colorfulness).mean() / torch.cat(true_colorfulness).mean()),
        "delta_e": float(np.mean(errors)),
    }


@torch.no_grad()
def sample_grid(predict: Predict, batch: Batch) -> bytes:
    """A PNG with a column for each picture: gray, colorized, true."""
    rows = [merge_lab(batch.L, ab) for ab in (torch.zeros_like(batch.ab), predict(batch.L), batch.ab)]
    return _png(Image.fromarray(rgb_bytes(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)[None])[0]))


def classified_grid(batch: Batch, probabilities: Tensor, categories: Sequence[str], in_color: bool) -> bytes:
    """A PNG with a column for each picture: the most probable class and, where that is wrong, the true one."""
    pictures = merge_lab(batch.L, batch.ab if in_color else torch.zeros_like(batch.ab))
    pictures = F.interpolate(pictures, (128, 128), mode="bilinear", align_corners=False)
    row = Image.fromarray(rgb_bytes(torch.cat(list(pictures), dim=2)[None])[0])
    grid = Image.new("RGB", (row.width, row.height + 32), "white")
    grid.paste(row)
    draw = ImageDraw.Draw(grid)
    for index, (p, label) in enumerate(zip(probabilities, batch.labels.tolist(), strict=True)):
        best = int(p.argmax())
        draw.text((index * 128 + 4, 130), f"{categories[best]} {float(p[best]):.0%}", "darkgreen" if best == label else "firebrick")
        if best != label:
            draw.text((index * 128 + 4, 144), f"is {categories[label]}", "black")
    return _png(grid)


def rgb_bytes(rgb: Tensor) -> np.ndarray:
    """Bytes `(n,h,w,3)` of RGB `(n,3,h,w)` in [0, 1]."""
    pixels: np.ndarray = (rgb.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
