"""The quick look during training: scores at the size that is trained at, and a sheet of samples."""

import io
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.lab import lab_to_srgb
from training.data.batches import Batch
from training.evaluation import metrics


def coloured(L: Tensor, ab: Tensor) -> Tensor:
    """RGB `(n,3,h,w)` of lightness `(n,1,h,w)` and chrominance at any resolution."""
    ab = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
    return lab_to_srgb(torch.cat((L, ab), dim=1))


@torch.no_grad()
def colour_scores(paint: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> dict[str, float]:
    """PSNR minus grey's (dB), colourfulness over the truth's, and mean ΔE00, of `paint(L) -> ab`."""
    gains, vivid, true, errors = [], [], [], []
    for batch in batches:
        ab = paint(batch.L)
        painted, truth = coloured(batch.L, ab), coloured(batch.L, batch.ab)
        gains.append(metrics.psnr(painted, truth) - metrics.psnr(metrics.grey(truth), truth))
        vivid.append(metrics.colourfulness(painted))
        true.append(metrics.colourfulness(truth))
        errors += [metrics.ciede2000(*pair) for pair in zip(rgb_bytes(painted), rgb_bytes(truth), strict=True)]
    return {
        "psnr_gain": float(torch.cat(gains).mean()),
        "colourfulness": float(torch.cat(vivid).mean() / torch.cat(true).mean()),
        "delta_e": float(np.mean(errors)),
    }


@torch.no_grad()
def sample_sheet(paint: Callable[[Tensor], Tensor], batch: Batch) -> bytes:
    """A PNG with one column a picture: grey, coloured, true."""
    rows = [coloured(batch.L, ab) for ab in (torch.zeros_like(batch.ab), paint(batch.L), batch.ab)]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    buffer = io.BytesIO()
    Image.fromarray(rgb_bytes(sheet[None])[0]).save(buffer, "PNG")
    return buffer.getvalue()


def rgb_bytes(rgb: Tensor) -> np.ndarray:
    """Bytes `(n,h,w,3)` of RGB `(n,3,h,w)` in [0, 1]."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
