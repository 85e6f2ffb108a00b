"""Every category painted by every expert: what a wrong route costs; paper 003, section V and figure 9, as numbers."""

from collections.abc import Mapping

import numpy as np
import torch
from rich.progress import track

from training.data.batches import plain_batches
from training.material import Material
from training.publishing.calibration import judged
from training.trained import Trained

PICTURES = 60  # of a category


def cross(experts: Mapping[str, Trained], material: Material, device: torch.device) -> np.ndarray:
    """Mean ΔE94 of each category's validation pictures (rows) under each expert (columns), in the order of `experts`.

    Raises:
        DataError: a category has no validation pictures.
    """
    matrix = np.zeros((len(experts), len(experts)))
    for column, expert in enumerate(track(list(experts.values()), description="crossing")):
        for row, category in enumerate(experts):
            pack = material.of(material.val, category).spread(PICTURES)
            batches = (batch.to(device) for batch in plain_batches(pack, 32, expert.size))
            matrix[row, column] = float(judged(expert.network, batches)[0].mean())
    return matrix
