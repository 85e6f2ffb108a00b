"""The categories of the 1000 labels of ImageNet."""

import json
from functools import cache
from importlib import resources


@cache
def imagenet_mapping(name: str) -> tuple[str | None, ...]:
    """The category of each of the 1000 ImageNet labels, in torchvision's order; None for labels of no category.

    Raises:
        ValueError: there is no mapping of that name.
    """
    table = json.loads((resources.files("models") / "imagenet_categories.json").read_text())
    if name not in table["columns"][1:]:
        raise ValueError(f"there is no mapping {name!r}: give one of {', '.join(table['columns'][1:])}.")
    column = table["columns"].index(name)
    return tuple(row[column] for row in table["labels"])


def imagenet_categories(name: str) -> tuple[str, ...]:
    """The categories of a mapping, sorted.

    Raises:
        ValueError: there is no mapping of that name.
    """
    return tuple(sorted({category for category in imagenet_mapping(name) if category}))
