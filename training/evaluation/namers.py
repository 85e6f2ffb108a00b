"""Finished naming runs, and paper 003's table I of them: top-1 and top-3 error by category, for each backbone that was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.errors import CheckpointError
from training.backbones import build_namer
from training.checkpoints import load_state
from training.config import Naming
from training.data.batches import plain_batches
from training.data.manifest import DataError, Entry
from training.data.packs import load_pack
from training.evaluation.naming import NamingTally
from training.fit import BEST


@dataclass(frozen=True)
class TrainedNamer:
    """The classifier of a finished naming run; `meta` is all that its checkpoint knows."""

    network: nn.Module
    categories: tuple[str, ...]
    meta: dict[str, Any]

    @property
    def size(self) -> int:
        """The side of the pictures that it was validated on."""
        return int(self.meta["origin"]["recipe"]["schedule"]["validation_size"])


NEEDED = {
    "color": "does not judge colors: give a run of the task naming that reads color, li-judge for one.",
    "gray": "does not name gray pictures, as a router does: give a run of the task naming that reads gray.",
}


def load_namer(folder: Path, device: torch.device, reads: str) -> TrainedNamer:
    """The classifier of a finished run, if it reads *gray*, or *color*, as is wanted.

    Raises:
        CheckpointError: there is no such run, or it does not name such pictures.
    """
    tensors, meta = load_state(folder / BEST)
    if meta.get("namer", {}).get("reads") != reads:
        raise CheckpointError(f"{folder} {NEEDED[reads]}")
    categories = tuple(meta["categories"])
    network = build_namer(Naming(kind="naming", **meta["namer"]), len(categories), pretrained=False)
    network.load_state_dict(tensors)
    return TrainedNamer(network.eval().to(device), categories, meta)


@torch.no_grad()
def naming_errors(runs: Mapping[str, Path], entries: Sequence[Entry], packs: Path, device: torch.device) -> dict[str, Any]:
    """For each run: how many of the pictures are of its categories, and its top-1 and top-3 errors on these, whole and by category.

    Raises:
        CheckpointError: see `load_namer`.
        DataError: none of the pictures is of a run's categories.
    """
    found = {}
    for name, folder in runs.items():
        namer = load_namer(folder, device, "gray")
        own = [entry for entry in entries if entry.category in namer.categories]
        if not own:
            raise DataError(f"{folder} names {', '.join(namer.categories)}, and none of the pictures is of these.")
        tally = NamingTally(namer.categories)
        for batch in plain_batches(load_pack(own, namer.categories, namer.size, packs), 64, namer.size):
            batch = batch.to(device)
            tally.add(namer.network(batch.L, batch.ab).float(), batch.labels)
        scores = tally.scores()
        found[name] = {
            "backbone": namer.meta["namer"]["backbone"],
            "pictures": len(own),
            "top1_error": 1 - scores["top1"],
            "top3_error": 1 - scores["top3"],
            "by_category": {
                category: {"top1_error": 1 - counts[index] / sum(counts), "top3_error": scores["top3_error"][category]}
                for index, (category, counts) in enumerate(zip(namer.categories, scores["confusion"]["counts"], strict=True))
                if sum(counts)
            },
        }
    return found
