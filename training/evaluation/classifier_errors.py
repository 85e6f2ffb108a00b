"""The errors of trained classifiers on the evaluated pictures, for paper 003's table I."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from training.data.batches import plain_batches
from training.data.dataset_index import DataError, Entry
from training.data.packs import load_pack
from training.evaluation.results import ClassifierErrors, TopErrors
from training.metrics.classification import ClassificationMetrics
from training.runs.trained import load_classifier


def classifier_errors(
    runs: Mapping[str, Path], entries: Sequence[Entry], packs: Path, device: torch.device
) -> list[ClassifierErrors]:
    """Top-1 and top-3 errors of each run on the pictures of its categories, over all and by category.

    Raises:
        CheckpointError: a run does not exist, or is not a classifier of gray pictures.
        DataError: none of the pictures is of a category of a run.
    """
    results = []
    for name, folder in runs.items():
        classifier = load_classifier(folder, device, "gray")
        own = [entry for entry in entries if entry.category in classifier.categories]
        if not own:
            raise DataError(f"{folder} has the classes {', '.join(classifier.categories)}, and none of the pictures is of these.")
        metrics = ClassificationMetrics(classifier.categories)
        for batch in plain_batches(load_pack(own, classifier.categories, classifier.size, packs), 64, classifier.size):
            batch = batch.to(device)
            metrics.update(classifier.logits(batch.L, batch.ab), batch.labels)
        scores = metrics.compute()
        results.append(
            ClassifierErrors(
                run=name,
                backbone=classifier.meta["classifier"]["backbone"],
                pictures=len(own),
                errors=TopErrors(1 - scores["top1"], 1 - scores["top3"]),
                by_category={
                    category: TopErrors(1 - counts[index] / sum(counts), scores["top3_error"][category])
                    for index, (category, counts) in enumerate(
                        zip(classifier.categories, scores["confusion"]["counts"], strict=True)
                    )
                    if sum(counts)
                },
            )
        )
    return results
