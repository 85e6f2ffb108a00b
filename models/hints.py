"""Colors that a person has chosen for some points, and how they spread over the picture.

The difference between a chosen color and the predicted one is known at each point; between them it is estimated by regression
with a Gaussian process (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", equation 2.25), for which two
positions are alike if they are near, and of similar lightness and predicted color. So a hint reaches what looks alike and lies
near, and stops at edges; with several hints, each is followed at its point. Levin et al. 2004, "Colorization Using Optimization",
spread colors by luma and nearness too, but without a prediction, and by a system of equations for all pixels. The numbers below
are measured.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.chroma import plane_shape, resize, small_luma
from models.errors import OptionError
from models.lab import Float32Array, lightness_levels, srgb_to_lab
from models.luma import UInt8Array
from models.options import Hint, PointOptions


class _Kernel(NamedTuple):
    """How likeness falls: to 61% at these distances, each on its own."""

    weight: float
    position: float  # long sides of the picture
    lightness: float  # of the pixel, in L
    surroundings: float  # mean lightness around it
    texture: float  # standard deviation of the lightness around it
    color: float  # as predicted, in ab units


_KERNELS = (_Kernel(1.0, 0.3, 30.0, 12.0, 10.0, 8.0), _Kernel(0.3, 0.6, 30.0, np.inf, np.inf, 15.0))
_NOISE = 0.03  # variance of a hint, relative to that of the difference
_AROUND = 4  # pixels of the planes, over which surroundings are averaged
_COLOR = slice(5, 7)  # of the features
_POSITIONS = 2**12  # that are estimated at a time


def check_points(option: str, points: Sequence[Hint | PointOptions], width: int, height: int) -> None:
    """Raise an OptionError if a point is outside of a picture."""
    for point in points:
        if point.x >= width or point.y >= height:
            valid = f"x from 0 to {width - 1} and y from 0 to {height - 1}, because the picture has {width} x {height} pixels"
            raise OptionError(option, f"{point.x:g},{point.y:g}", valid)


def hint_planes(hints: Sequence[Hint], picture: tuple[int, int], shape: tuple[int, int]) -> Float32Array:
    """Ab in CIELAB units and a mask, `(1,3,h,w)`, of the hints of a picture of the given height and width, for networks that read
    them.
    """
    planes = np.zeros((1, 3, *shape), np.float32)
    for hint, ab in zip(hints, _colors(hints), strict=True):
        planes[0, :, int(hint.y * shape[0] / picture[0]), int(hint.x * shape[1] / picture[1])] = (*ab, 1)
    return planes


def spread_hints(luma: UInt8Array, ab: Float32Array, hints: Sequence[Hint]) -> Float32Array:
    """Predicted ab with hints, `(1,2,h',w')` in CIELAB units, at the resolution at which it is merged with luma.

    Args:
        luma: of the picture, `(h,w)`.
        ab: as predicted, `(1,2,*,*)` in CIELAB units, of any resolution.
        hints: in pixels of the picture, and within it.
    """
    shape = plane_shape(luma.shape)
    predicted = resize(ab, shape)[0]
    features = _features(luma, predicted)
    pixel = max(luma.shape) / max(shape)
    rows, columns = (np.array([getattr(hint, axis) / pixel for hint in hints], int) for axis in "yx")
    known = features[np.minimum(rows, shape[0] - 1) * shape[1] + np.minimum(columns, shape[1] - 1)]
    strengths = np.array([hint.strength for hint in hints], np.float32)[:, None]
    difference = strengths * (_colors(hints) - known[:, _COLOR])
    radii = np.array([hint.radius / pixel if hint.radius else np.inf for hint in hints], np.float32)
    likeness = _likeness(known, known, radii, max(shape)) + _NOISE * np.eye(len(hints), dtype=np.float32)
    try:
        weights = np.linalg.solve(likeness, difference)
    except np.linalg.LinAlgError:  # which different radii may cause
        weights = np.linalg.lstsq(likeness, difference)[0]
    spread = np.concatenate([_likeness(part, known, radii, max(shape)) @ weights for part in _parts(features)])
    spread = spread.clip(difference.min(axis=0).clip(max=0), difference.max(axis=0).clip(min=0))  # no color beyond those of hints
    corrected: Float32Array = predicted + spread.T.reshape(2, *shape)
    return corrected[None]


def _features(luma: UInt8Array, predicted: Float32Array) -> Float32Array:
    """What makes positions alike, `(n,7)`: y and x in pixels of the planes, lightness, its mean and deviation around, a and b."""
    shape = predicted.shape[1:]
    lightness = lightness_levels()[small_luma(luma, (shape[0], shape[1]))]
    less = max(1, shape[0] // _AROUND), max(1, shape[1] // _AROUND)
    mean, square = resize(resize(np.stack((lightness, lightness**2)), less), (shape[0], shape[1]))
    texture = np.sqrt(np.maximum(square - mean**2, 0))
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    return np.stack((y, x, lightness, mean, texture, *predicted), axis=-1).reshape(-1, 7)


def _likeness(features: Float32Array, known: Float32Array, radii: Float32Array, side: int) -> Float32Array:
    """How much the difference at each position `(n,7)` is like that at each hint `(m,7)`: `(n,m)`."""
    groups = (slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5), _COLOR)
    distance, *others = (_squares(features[:, group], known[:, group]) for group in groups)
    total = np.zeros_like(distance)
    for weight, position, *lengths in _KERNELS:
        exponent = distance / (position * side) ** 2
        for squares, length in zip(others, lengths, strict=True):
            if np.isfinite(length):
                exponent = exponent + squares / np.float32(length**2)
        total += weight * np.exp(-0.5 * exponent)
    limited = np.isfinite(radii)
    if limited.any():
        total[:, limited] *= np.exp(-0.5 * distance[:, limited] / radii[limited] ** 2)
    return total


def _squares(a: Float32Array, b: Float32Array) -> Float32Array:
    """The squared distances `(n,m)` between the rows of two arrays."""
    squares: Float32Array = sum(np.square(a[:, None, index] - b[None, :, index]) for index in range(a.shape[1]))
    return squares


def _parts(features: Float32Array) -> Iterator[Float32Array]:
    for start in range(0, len(features), _POSITIONS):
        yield features[start : start + _POSITIONS]


def _colors(hints: Sequence[Hint]) -> Float32Array:
    """The chrominance `(n,2)` in CIELAB units of the colors of hints."""
    levels = [bytes.fromhex(hint.color[1:]) for hint in hints]
    rgb: Float32Array = np.frombuffer(b"".join(levels), np.uint8).reshape(-1, 3, 1, 1).astype(np.float32) / np.float32(255)
    ab: Float32Array = srgb_to_lab(rgb)[:, 1:, 0, 0]
    return ab
