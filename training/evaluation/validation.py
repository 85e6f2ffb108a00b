"""The quick look during training: scores at the size that is trained at, and a sheet of samples."""

import io
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from models.lab import lab_to_srgb
from training.data.batches import Batch
from training.evaluation import metrics


def colorized(L: Tensor, ab: Tensor) -> Tensor:
    """RGB `(n,3,h,w)` of lightness `(n,1,h,w)` and chrominance at any resolution."""
    ab = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
    return lab_to_srgb(torch.cat((L, ab), dim=1))


@torch.no_grad()
def color_scores(paint: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> dict[str, float]:
    """PSNR minus gray's (dB), colorfulness over the truth's, and mean ΔE00, of `paint(L) -> ab`."""
    gains, vivid, true, errors = [], [], [], []
    for batch in batches:
        ab = paint(batch.L)
        painted, truth = colorized(batch.L, ab), colorized(batch.L, batch.ab)
        gains.append(metrics.psnr(painted, truth) - metrics.psnr(metrics.gray(truth), truth))
        vivid.append(metrics.colorfulness(painted))
        true.append(metrics.colorfulness(truth))
        errors += [metrics.ciede2000(*pair) for pair in zip(rgb_bytes(painted), rgb_bytes(truth), strict=True)]
    return {
        "psnr_gain": float(torch.cat(gains).mean()),
        "colorfulness": float(torch.cat(vivid).mean() / torch.cat(true).mean()),
        "delta_e": float(np.mean(errors)),
    }


@torch.no_grad()
def sample_sheet(paint: Callable[[Tensor], Tensor], batch: Batch) -> bytes:
    """A PNG with one column a picture: gray, colorized, true."""
    rows = [colorized(batch.L, ab) for ab in (torch.zeros_like(batch.ab), paint(batch.L), batch.ab)]
    return _png(Image.fromarray(rgb_bytes(torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)[None])[0]))


def named_sheet(batch: Batch, probabilities: Tensor, categories: Sequence[str], color: bool) -> bytes:
    """A PNG with one column a picture, and under it the likeliest name and, where that is wrong, the true one."""
    pictures = colorized(batch.L, batch.ab if color else torch.zeros_like(batch.ab))
    pictures = F.interpolate(pictures, (128, 128), mode="bilinear", align_corners=False)
    row = Image.fromarray(rgb_bytes(torch.cat(list(pictures), dim=2)[None])[0])
    sheet = Image.new("RGB", (row.width, row.height + 32), "white")
    sheet.paste(row)
    draw = ImageDraw.Draw(sheet)
    for index, (p, label) in enumerate(zip(probabilities, batch.labels.tolist(), strict=True)):
        named = int(p.argmax())
        right = named == label
        draw.text((index * 128 + 4, 130), f"{categories[named]} {float(p[named]):.0%}", "darkgreen" if right else "firebrick")
        if not right:
            draw.text((index * 128 + 4, 144), f"is {categories[label]}", "black")
    return _png(sheet)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rgb_bytes(rgb: Tensor) -> np.ndarray:
    """Bytes `(n,h,w,3)` of RGB `(n,3,h,w)` in [0, 1]."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
