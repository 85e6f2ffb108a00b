"""Every category painted by every expert: what a wrong route costs; paper 003, section V and figure 9, as numbers."""

from collections.abc import Mapping

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional as F

from training.data.batches import plain_batches
from training.losses import delta_e94
from training.material import Material
from training.publishing.read_outs import painted
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
            for batch in (batch.to(device) for batch in plain_batches(pack, 32, expert.size)):
                with torch.no_grad():
                    errors = delta_e94(painted(expert.network, batch.L), F.avg_pool2d(batch.ab, 4)).mean(dim=(1, 2))
                matrix[row, column] += float(errors.sum()) / len(pack)
    return matrix
