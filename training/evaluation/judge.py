"""Semantic scores: a classifier judges whether colorized pictures are recognized (papers 002 and 004, section 2.5.2).

The score of a picture is the probability of its true class. The judge of paper 004 is an ImageNet network, whose probability of a
class is that of the most probable of its labels; another one is a run of the task `classification` that reads color, as in paper
002.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.classifiers import imagenet_members
from models.ensemble import Ensemble
from models.errors import CheckpointError
from models.imagenet import imagenet_categories
from models.lab import srgb_to_lab
from models.vgg import IMAGENET_MEAN, IMAGENET_STD
from training.data.dataset_index import Entry, digest
from training.data.datasets import select
from training.evaluation.method import GENERAL, GRAY, ROUTED, TRUTH, Method
from training.evaluation.results import ClassScores, JudgeScores, TrainingOverlap
from training.metrics.bootstrap import Bootstrap
from training.metrics.frechet import FeatureExtractor, in_inference_mode, resized_rgb
from training.networks.torchvision_compat import get_model
from training.runs.trained import load_classifier

IMAGENET_SIDE = 224

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """A classifier of color pictures.

    Args:
        name: for the report.
        categories: its classes.
        extract: probabilities `(n,classes)` of RGB bytes `(n,h,w,3)`.
        predict: probabilities of lightness `(n,1,h,w)` and chrominance at any resolution; None for ImageNet networks.
        sets: on which it was trained.
        data: the digest of its training data.
    """

    name: str
    categories: tuple[str, ...]
    extract: FeatureExtractor
    predict: Callable[[Tensor, Tensor], Tensor] | None = None
    sets: tuple[str, ...] = ()
    data: str = ""


def load_judge(spec: str, device: torch.device) -> Judge:
    """The judge in the folder of a run of the task classification that reads color, or `NETWORK=FILE` with weights of torchvision.

    Raises:
        CheckpointError: there is no such run or network, or the file contains other weights.
    """
    network, separator, file = spec.partition("=")
    return _imagenet_judge(network, Path(file), device) if separator else _run_judge(Path(spec), device)


def judge_scores(probabilities: Mapping[Method, Probabilities], labels: NDArray[np.int64]) -> list[JudgeScores]:
    """The scores of every method, from the judge's probabilities `(n,classes)` and labels `(n,)`. One of the methods is *gray*."""
    score = {method: values[np.arange(len(labels)), labels] for method, values in probabilities.items()}
    correct = {method: (values.argmax(axis=1) == labels).astype(float) for method, values in probabilities.items()}
    gray, competing = Method(name=GRAY), [method for method in probabilities if competes(method)]
    best = np.max([score[method] for method in competing], axis=0)
    bootstrap = Bootstrap(len(labels))
    return [
        JudgeScores(
            method=method,
            mean=float(score[method].mean()),
            median=float(np.median(score[method])),
            sd=float(score[method].std(ddof=1)) if len(labels) > 1 else None,
            best=int((score[method] == best).sum()) if method in competing else None,
            accuracy=float(correct[method].mean()),
            gain=bootstrap.mean(correct[method] - correct[gray]),
            confidence_gain=bootstrap.mean(score[method] - score[gray]),
        )
        for method in probabilities
    ]


def scores_by_class(
    probabilities: Mapping[Method, Probabilities], labels: NDArray[np.int64], categories: Sequence[str]
) -> list[ClassScores]:
    """The scores of each picture by class, for gray, general, routed and the truth."""
    methods = [*(method for method in probabilities if competes(method)), Method(name=TRUTH)]
    return [
        ClassScores(
            name=name,
            methods=methods,
            scores=[probabilities[method][labels == index, index].tolist() for method in methods],
        )
        for index, name in enumerate(categories)
        if (labels == index).any()
    ]


def competes(method: Method) -> bool:
    """Whether a method competes for the best score of a picture: gray, general and the routed ones of all bundles."""
    return method.name == ROUTED or (not method.bundle and method.name in (GRAY, GENERAL))


def training_overlap(
    judge: Judge, bundles: Mapping[str, Ensemble], entries: Sequence[Entry], index_entries: Sequence[Entry]
) -> tuple[int | None, list[TrainingOverlap]]:
    """The number of `entries` that the judge was trained on, and of training pictures that each bundle shares with it.

    Both follow from the stored digests of the training data; None if they are of other data.
    """
    sets = {entry.set for entry in index_entries}
    judge_sets = trained_on(judge.data, index_entries) if sets & set(judge.sets) else ()
    if not judge.sets:
        judge_sets = None
    judge_pictures = {entry.sha256 for entry in index_entries if judge_sets and entry.split == "train" and entry.set in judge_sets}
    overlaps = []
    for name, ensemble in bundles.items():
        by_expert = [trained_on(data, index_entries) for data in {card.data for card in ensemble.bundle.manifest.experts.values()}]
        all_sets = None if None in by_expert else sorted({set_ for sets in by_expert for set_ in sets or ()})
        shared = None if judge_sets is None or all_sets is None else shared_pictures(index_entries, judge_sets, all_sets)
        overlaps.append(TrainingOverlap(bundle=name, trained_on=all_sets, shared_with_judge=shared))
    return None if judge_sets is None else sum(entry.sha256 in judge_pictures for entry in entries), overlaps


def trained_on(data: str, entries: Sequence[Entry]) -> tuple[str, ...] | None:
    """The sets whose training pictures have the digest `data`; None if there are no such sets."""
    sets = sorted({entry.set for entry in entries if entry.split == "train"})
    for chosen in chain.from_iterable(combinations(sets, count) for count in range(1, len(sets) + 1)):
        if digest(select(entries, chosen, "train")) == data:
            return chosen
    return None


def shared_pictures(entries: Sequence[Entry], sets: Sequence[str], others: Sequence[str]) -> int:
    """The number of training pictures that two choices of sets share."""
    first, second = ({entry.sha256 for entry in entries if entry.split == "train" and entry.set in some} for some in (sets, others))
    return len(first & second)


def _run_judge(folder: Path, device: torch.device) -> Judge:
    classifier = load_classifier(folder, device, "color")

    @torch.no_grad()
    def predict(L: Tensor, ab: Tensor) -> Tensor:
        ab = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
        return classifier.logits(L, ab).softmax(dim=1)

    def extract(pictures: np.ndarray) -> np.ndarray:
        lab = srgb_to_lab(resized_rgb(pictures, classifier.size).to(device))
        probabilities: np.ndarray = predict(lab[:, :1], lab[:, 1:]).cpu().numpy()
        return probabilities

    name = f"{classifier.meta['classifier']['backbone']} of {folder.name}, {classifier.size} px"
    origin = classifier.meta["origin"]
    sets = tuple(origin["recipe"]["data"]["sets"])
    return Judge(name, classifier.categories, in_inference_mode(extract), predict, sets, str(origin["data"]))


def _imagenet_judge(name: str, file: Path, device: torch.device) -> Judge:
    try:
        network = get_model(name, weights=None).eval().to(device)
        network.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    except Exception as error:  # loaders raise almost anything on other files
        raise CheckpointError(
            f"the judge {name}={file} cannot be used ({error}): give a classifier of torchvision and its weights."
        ) from error
    categories, members = imagenet_categories("everyday"), imagenet_members("everyday")
    members = members.to(device)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def extract(pictures: np.ndarray) -> np.ndarray:
        logits: Tensor = network((resized_rgb(pictures, IMAGENET_SIDE).to(device) - mean) / std)
        probabilities: np.ndarray = (logits.softmax(dim=1)[:, None] * members).amax(dim=2).cpu().numpy()
        return probabilities

    return Judge(f"{name}, ImageNet, {IMAGENET_SIDE} px", categories, in_inference_mode(extract))
