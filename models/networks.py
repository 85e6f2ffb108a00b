"""What an ensemble asks of the engine that runs the networks of a bundle. Arrays are NumPy's."""

from typing import Any, Protocol

import numpy as np

from models.lab import Float32Array


class Networks(Protocol):
    """The networks of a bundle. Methods may be called from several threads."""

    def features(self, trunk: str, L: Float32Array) -> Any:
        """What a trunk makes of lightness `(1,1,h,w)` in [0, 100], in a form that only the engine knows."""

    def probabilities(self, features: Any) -> Float32Array:
        """Those of the classifier `(categories + 1,)`, the last of them *unmapped*, from the features of its trunk."""

    def stride(self, expert: str) -> int:
        """Of which the sides of the input of an expert are multiples.

        Raises:
            CheckpointError: the expert was evicted from memory, and its file has changed.
        """

    def ab(self, expert: str, L: Float32Array, features: Any | None, hints: Float32Array | None = None) -> Float32Array:
        """Chrominance `(1,2,h',w')` in CIELAB units of lightness `(1,1,h,w)` in [0, 100], at the resolution of the expert.

        Args:
            expert: its name.
            L: the lightness.
            features: of the trunk that the expert reads, if it reads one.
            hints: ab and a mask `(1,3,h,w)` of the points whose color is known, which some networks read; see `models.hints`.

        Raises:
            CheckpointError: the expert was evicted from memory, and its file has changed.
        """

    def distribution(
        self, expert: str, L: Float32Array, features: Any | None, at: tuple[float, float]
    ) -> tuple[Float32Array, Float32Array] | None:
        """What an expert predicts for a point: ab `(k,2)` of its bins in CIELAB units, and their probabilities `(k,)`; None for an
        expert that predicts colors, and no distribution.

        Args:
            expert: its name.
            L: the lightness.
            features: of the trunk that the expert reads, if it reads one.
            at: y and x of the point, in [0, 1) of the height and the width.

        Raises:
            CheckpointError: the expert was evicted from memory, and its file has changed.
        """


def probabilities_at(logits: Float32Array, at: tuple[float, float]) -> Float32Array:
    """The softmax `(k,)` of logits `(1,k,h,w)` at a point, as in `Networks.distribution`."""
    height, width = logits.shape[2:]
    values = logits[0, :, int(at[0] * height), int(at[1] * width)].astype(np.float32)
    shares = np.exp(values - values.max())
    probabilities: Float32Array = shares / np.float32(shares.sum())
    return probabilities
