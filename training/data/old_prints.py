"""Variations of old prints, as augmentation: film, tones, wear, reproduction and frames, each on a random part of a batch.

All functions take lightness L `(n,1,s,s)` in [0, 100], and parameters from a numpy generator, so that a batch is a pure function
of its step; noise is made on the device of the pictures. They return new tensors. Colors stay true except in frames, which are
neutral.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.lab import lab_to_srgb, lightness_to_luma, luma_to_lightness
from models.luma import LUMA

Effect = Callable[[Tensor, np.random.Generator], Tensor]


def old_prints(L: Tensor, ab: Tensor, rng: np.random.Generator, share: float = 0.6) -> tuple[Tensor, Tensor]:
    """L and ab `(n,2,s,s)` of pictures, of which a `share` look like old prints."""
    L, ab = L.clone(), ab.clone()
    old = rng.random(len(L)) < share
    chosen = _choose(old, 0.35, rng)
    if len(chosen):
        L[chosen] = film_response(L[chosen], ab[chosen], rng)
    for effect, probability in _BEFORE_FRAMING:
        chosen = _choose(old, probability, rng)
        if len(chosen):
            L[chosen] = effect(L[chosen], rng)
    chosen = _choose(old, 0.25, rng)
    if len(chosen):
        L[chosen], ab[chosen] = framed(L[chosen], ab[chosen], rng)
    for effect, probability in _AFTER_FRAMING:
        chosen = _choose(old, probability, rng)
        if len(chosen):
            L[chosen] = effect(L[chosen], rng)
    return L.clamp(0, 100), ab


def film_response(L: Tensor, ab: Tensor, rng: np.random.Generator) -> Tensor:
    """The lightness that film of another spectral response records: gray from a random mix of the channels instead of luma.

    Orthochromatic film does not see red; early emulsions see little but blue.
    """
    mix = torch.from_numpy(rng.dirichlet((1.0, 2.0, 1.5), len(L))).to(L)
    rgb = lab_to_srgb(torch.cat((L, ab), dim=1))
    change = torch.einsum("nc,nchw->nhw", mix - torch.tensor(LUMA).to(L), rgb)[:, None]
    return luma_to_lightness((lightness_to_luma(L) + change).clamp(0, 1))


def gamma(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Exposure and development: lighter or darker midtones."""
    return 100 * (L.clamp(0, 100) / 100) ** _uniform(L, rng, -0.7, 0.7).exp()


def contrast(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Hard paper: tones beyond a range become black and white."""
    return 50 + (L - 50) * _uniform(L, rng, 1.0, 1.8) + _uniform(L, rng, -10, 10)


def faded(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Fading: the tones shrink to a part of the range, of at least 20 L."""
    low = _uniform(L, rng, 0, 50)
    high = low + 20 + (80 - low).clamp(min=0) * _uniform(L, rng, 0, 1)
    return low + (high - low) * L / 100


def vignetted(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Corners darker, or lighter, than the center."""
    y, x = _grid(L)
    distance = (x - _uniform(L, rng, -0.3, 0.3)).square() + (y - _uniform(L, rng, -0.3, 0.3)).square()
    return L * (1 - _uniform(L, rng, 0.1, 0.35) * distance) + _uniform(L, rng, -10, 10) * distance


def unevenly_exposed(L: Tensor, rng: np.random.Generator) -> Tensor:
    """A gradient of brightness across the print, and stains."""
    y, x = _grid(L)
    gradient = x * _uniform(L, rng, -12, 12) + y * _uniform(L, rng, -12, 12)
    stains = F.interpolate(noise(L, (len(L), 1, 5, 5), rng), L.shape[-2:], mode="bicubic", align_corners=False)
    return L + gradient + stains * _uniform(L, rng, 0, 5)


def soft(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Out of focus or moved."""
    small = F.interpolate(L, scale_factor=float(rng.uniform(0.25, 0.8)), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, L.shape[-2:], mode="bicubic", align_corners=False)


def grainy(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Film grain, fine or coarse."""
    coarseness = float(rng.uniform(0.4, 1.0))
    height, width = L.shape[-2:]
    grain = noise(L, (len(L), 1, round(height * coarseness), round(width * coarseness)), rng)
    return L + F.interpolate(grain, (height, width), mode="bilinear", align_corners=False) * _uniform(L, rng, 1, 8)


def scratched(L: Tensor, rng: np.random.Generator) -> Tensor:
    """A few light or dark, thin lines: scratches, creases and tears."""
    y, x = _grid(L)
    pixel = 2 / L.shape[-1]
    for _ in range(int(rng.integers(1, 4))):
        angle = _uniform(L, rng, 0, np.pi)
        distance = (x * angle.cos() + y * angle.sin() - _uniform(L, rng, -0.9, 0.9)).abs()
        line = (1 - distance / (pixel * _uniform(L, rng, 0.3, 1.5))).clamp(0, 1)
        L = L + line * _signed(L, rng, 20, 60)
    return L


def dusty(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Dust and spots, light or dark."""
    spots = (torch.rand(L.shape, generator=generator(L, rng), device=L.device) > 1 - _uniform(L, rng, 0.0003, 0.003)).to(L)
    spots = F.avg_pool2d(F.max_pool2d(spots, 3, stride=1, padding=1), 3, stride=1, padding=1)
    return L + spots * _signed(L, rng, 30, 80)


def halftoned(L: Tensor, rng: np.random.Generator) -> Tensor:
    """The dots of a newspaper or a postcard."""
    y, x = _grid(L)
    frequency, angle = _uniform(L, rng, 0.2, 0.9) * L.shape[-1], _uniform(L, rng, 0, np.pi / 2)
    across, along = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    return L + _uniform(L, rng, 3, 15) * (frequency * across).sin() * (frequency * along).sin()


def compressed(L: Tensor, rng: np.random.Generator) -> Tensor:
    """JPEG: the 8 x 8 cosine transform, quantized as by the table of the standard (ITU-T T.81, annex K.1)."""
    n, _, height, width = L.shape
    rows, columns = height // 8, width // 8
    blocks = L.view(n, rows, 8, columns, 8).transpose(2, 3) * 2.55
    cosines = _cosines().to(L)
    step = torch.tensor(_LUMINANCE_TABLE).view(8, 8).to(L) * _uniform(L, rng, 0.3, 1.5).view(n, 1, 1, 1, 1)
    quantized = (cosines @ blocks @ cosines.T / step).round() * step
    return (cosines.T @ quantized @ cosines).transpose(2, 3).reshape(L.shape) / 2.55


def framed(L: Tensor, ab: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures, smaller, in a border, a mount, an oval or a film edge, some with a line around them or a caption. Frames are
    neutral.
    """
    n = len(L)
    left, right, top, bottom = (_uniform(L, rng, 0.03, 0.3) for _ in range(4))  # of half the side
    even = torch.from_numpy(rng.random((n, 1, 1, 1)) < 0.6).to(L.device)
    right, top, bottom = torch.where(even, left, right), torch.where(even, left, top), torch.where(even, left, bottom)
    caption = _chance(L, rng, 0.25)
    bottom = bottom + caption * _uniform(L, rng, 0.05, 0.2)
    center_x, center_y = (left - right) / 2, (top - bottom) / 2
    half_width, half_height = 1 - (left + right) / 2, 1 - (top + bottom) / 2

    y, x = _grid(L)
    inner_x, inner_y = (x - center_x) / half_width, (y - center_y) / half_height
    grid = torch.stack((inner_x.expand(-1, -1, *L.shape[-2:]), inner_y.expand(-1, -1, *L.shape[-2:])), dim=-1)[:, 0]
    lab = F.grid_sample(torch.cat((L, ab), dim=1), grid, mode="bilinear", padding_mode="border", align_corners=False)

    power = torch.from_numpy(rng.choice((2.0, 6.0, 60.0), (n, 1, 1, 1), p=(0.15, 0.1, 0.75))).to(L)
    radius = inner_x.abs() ** power + inner_y.abs() ** power
    outside = (radius > 1).to(L)
    tone = torch.where(_chance(L, rng, 0.7) > 0, _uniform(L, rng, 60, 100), _uniform(L, rng, 0, 40))
    frame = tone + noise(L, L.shape, rng) * _uniform(L, rng, 0, 2)
    line = ((radius > 1) & (radius < 1 + 0.06 * power)).to(L) * _chance(L, rng, 0.3)
    frame = frame + line * torch.where(tone > 50, -1.0, 1.0) * _uniform(L, rng, 20, 60)
    frame = frame + _caption(L, rng, 1 - bottom) * caption * torch.where(tone > 50, -1.0, 1.0) * 50
    return lab[:, :1] * (1 - outside) + frame * outside, lab[:, 1:] * (1 - outside)


def _caption(L: Tensor, rng: np.random.Generator, below: Tensor) -> Tensor:
    """Strokes `(n,1,s,s)` in [0, 1], like one line of writing in the middle of the space below `below`."""
    y, x = _grid(L)
    strokes = F.interpolate(noise(L, (len(L), 1, 1, L.shape[-1] // 2), rng), (1, L.shape[-1]), mode="nearest") > 0.2
    middle, height = (1 + below) / 2, (1 - below) * 0.2
    return (strokes & ((y - middle).abs() < height) & (x.abs() < _uniform(L, rng, 0.2, 0.8))).to(L)


def _choose(old: np.ndarray, probability: float, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy((old & (rng.random(len(old)) < probability)).nonzero()[0])


def _uniform(like: Tensor, rng: np.random.Generator, low: float, high: float) -> Tensor:
    """A random number `(n,1,1,1)` for each picture."""
    return torch.from_numpy(rng.uniform(low, high, (len(like), 1, 1, 1))).to(like)


def _signed(like: Tensor, rng: np.random.Generator, low: float, high: float) -> Tensor:
    return _uniform(like, rng, low, high) * torch.where(_chance(like, rng, 0.7) > 0, 1.0, -1.0)


def _chance(like: Tensor, rng: np.random.Generator, probability: float) -> Tensor:
    return torch.from_numpy(rng.random((len(like), 1, 1, 1)) < probability).to(like)


def noise(like: Tensor, shape: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Gaussian noise on the device of a tensor."""
    return torch.randn(tuple(shape), generator=generator(like, rng), device=like.device)


def generator(like: Tensor, rng: np.random.Generator) -> torch.Generator:
    """A generator on the device of a tensor, whose seed is drawn."""
    return torch.Generator(like.device).manual_seed(int(rng.integers(2**63)))


def _grid(L: Tensor) -> tuple[Tensor, Tensor]:
    """The positions `(1,1,s,1)` and `(1,1,1,s)` of the pixels, y and x, in [-1, 1]."""
    axes = [(torch.arange(side, dtype=L.dtype, device=L.device) * 2 + 1) / side - 1 for side in L.shape[-2:]]
    return axes[0].view(1, 1, -1, 1), axes[1].view(1, 1, 1, -1)


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 samples, `(8,8)`."""
    frequency, position = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    table = ((2 * position + 1) * frequency * np.pi / 16).cos() / 2
    table[0] /= 2**0.5
    return table


_LUMINANCE_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112,
    100, 103, 99,
)  # fmt: skip

_BEFORE_FRAMING: tuple[tuple[Effect, float], ...] = (
    (gamma, 0.4), (contrast, 0.3), (vignetted, 0.25), (unevenly_exposed, 0.3), (soft, 0.3), (grainy, 0.4), (scratched, 0.12),
    (dusty, 0.12),
)  # fmt: skip
_AFTER_FRAMING: tuple[tuple[Effect, float], ...] = ((faded, 0.35), (halftoned, 0.06), (compressed, 0.25))
