"""Does the right thing stand out? A classifier of colorized pictures gives each way of colorizing its score; paper 004, section
2.5.2.

A picture's score is the probability of its true class. The paper's own judge is an ImageNet network, whose score for a class is
that of the likeliest label that belongs to it; another judge is a run of the task *naming* that reads color (paper 002's).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.classifiers import imagenet_members
from models.ensemble import Ensemble
from models.errors import CheckpointError
from models.lab import srgb_to_lab
from models.torchvision_compat import get_model
from models.vgg import IMAGENET_MEAN, IMAGENET_STD
from training.data.manifest import Entry, digest
from training.evaluation.frechet import as_tensor, without_gradients
from training.evaluation.intervals import Bootstrap
from training.evaluation.judge import load_judge
from training.evaluation.study import Study, Witness
from training.material import select

IMAGENET_SIDE = 224


@dataclass(frozen=True)
class SemanticJudge:
    """A witness that names colorized pictures; `sets` and `data`: what it learned from, and its digest, if that is known."""

    name: str
    categories: tuple[str, ...]
    see: Witness
    sets: tuple[str, ...] = ()
    data: str = ""


def semantic_judge(what: str, device: torch.device) -> SemanticJudge:
    """A judge: the folder of a naming run that reads color, or `NETWORK=FILE` with torchvision's weights of any of its
    classifiers.

    Raises:
        CheckpointError: there is no such run or network, or the file is not of it.
    """
    network, separator, file = what.partition("=")
    return _imagenet(network, Path(file), device) if separator else _run(Path(what), device)


def _run(folder: Path, device: torch.device) -> SemanticJudge:
    judge = load_judge(folder, device)

    def see(pictures: np.ndarray) -> np.ndarray:
        lab = srgb_to_lab(as_tensor(pictures, judge.size).to(device))
        return judge.probabilities(lab[:, :1], lab[:, 1:]).cpu().numpy()

    name = f"{judge.meta['namer']['backbone']} of {folder.name}, {judge.size} px"
    return SemanticJudge(name, judge.categories, without_gradients(see), *_learned(judge.meta["origin"]))


def _learned(origin: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    return tuple(origin["recipe"]["data"]["sets"]), str(origin["data"])


def _imagenet(name: str, file: Path, device: torch.device) -> SemanticJudge:
    try:
        network = get_model(name, weights=None).eval().to(device)
        network.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    except Exception as error:  # loaders raise almost anything on what is no weights file
        raise CheckpointError(
            f"the judge {name}={file} cannot be used ({error}): give a classifier of torchvision, and its weights."
        ) from error
    categories, members = imagenet_members("everyday")
    members = members.to(device)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))

    def see(pictures: np.ndarray) -> np.ndarray:
        logits: Tensor = network((as_tensor(pictures, IMAGENET_SIDE).to(device) - mean) / std)
        return (logits.softmax(dim=1)[:, None] * members).amax(dim=2).cpu().numpy()

    return SemanticJudge(f"{name}, ImageNet, {IMAGENET_SIDE} px", categories, without_gradients(see))


def verdicts(studies: Sequence[Study], judge: SemanticJudge) -> dict[str, Any]:
    """The judge's scores of every way: paper 004's statistics, the accuracy with its gain over gray, and the scores by class."""
    known = [each for each in studies if each.category in judge.categories]
    truth = np.array([judge.categories.index(each.category) for each in known])
    given = {way: np.array([each.seen["judge"][way] for each in known]) for way in known[0].seen["judge"]}
    score = {way: each[np.arange(len(known)), truth] for way, each in given.items()}
    right = {way: (each.argmax(axis=1) == truth).astype(float) for way, each in given.items()}
    rivals = [way for way in given if way in ("gray", "general") or way.endswith("routed")]
    best = np.max([score[way] for way in rivals], axis=0)
    sampled = Bootstrap(len(known))
    return {
        "judge": judge.name,
        "pictures": len(known),
        "skipped": len(studies) - len(known),
        "ways": {
            way: {
                "mean": float(score[way].mean()), "median": float(np.median(score[way])),
                "sd": float(score[way].std(ddof=1)) if len(known) > 1 else None,
                **({"best": int((score[way] == best).sum())} if way in rivals else {}),
                "accuracy": float(right[way].mean()), "gain": sampled.mean(right[way] - right["gray"]),
                "confidence_gain": sampled.mean(score[way] - score["gray"]),
            }
            for way in given
        },
        "by_class": {
            name: {way: score[way][truth == index].tolist() for way in (*rivals, "truth")}
            for index, name in enumerate(judge.categories) if (truth == index).any()
        },
    }  # fmt: skip


def independence(
    judge: SemanticJudge, named: Mapping[str, Ensemble], entries: Sequence[Entry], known: Sequence[Entry]
) -> dict[str, Any]:
    """What judge and colorizers learned from, and how many pictures they share, as far as the digests tell; None is not known."""
    there = {entry.set for entry in known}
    own = trained_on(judge.data, known) if there & set(judge.sets) else ()  # of sets that this manifest does not have
    if not judge.sets:
        own = None
    learned = {each.sha256 for each in known if own and each.split == "train" and each.set in own}
    painters = {}
    for prefix, ensemble in named.items():
        sets = [trained_on(data, known) for data in {card.data for card in ensemble.bundle.manifest.experts.values()}]
        all_sets = None if None in sets else sorted({name for each in sets for name in each or ()})
        shared = None if own is None or all_sets is None else shared_pictures(known, own, all_sets)
        painters[f"{prefix}routed"] = {"trained_on": all_sets, "shared_with_judge": shared}
    tested = None if own is None else sum(entry.sha256 in learned for entry in entries)
    return {"judge_sets": list(judge.sets), "pictures_that_the_judge_knows": tested, "painters": painters}


def trained_on(data: str, entries: Sequence[Entry]) -> tuple[str, ...] | None:
    """The sets of a manifest whose training pictures have the digest `data`; None if no choice of sets has."""
    sets = sorted({entry.set for entry in entries if entry.split == "train"})
    for chosen in chain.from_iterable(combinations(sets, count) for count in range(1, len(sets) + 1)):
        if digest(select(list(entries), chosen, "train")) == data:
            return chosen
    return None


def shared_pictures(entries: Sequence[Entry], sets: Sequence[str], others: Sequence[str]) -> int:
    """How many training pictures two choices of sets have in common."""
    first, second = ({each.sha256 for each in entries if each.split == "train" and each.set in some} for some in (sets, others))
    return len(first & second)
