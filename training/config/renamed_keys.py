"""Keys and values of recipes that were renamed: a recipe with an old one gets an error that names the new one."""

from collections.abc import Iterator, Mapping
from typing import Any

RENAMED = {
    "like": "extends",
    "each": "per_category",
    "licence": "license",
    "price": "colorfulness_price",
    "data.vary": "data.augmentation",
    "data.softest": "data.min_scale",
    "data.tiny_every": "data.tiny_interval",
    "schedule.optimiser": "schedule.optimizer",
    "schedule.pace": "schedule.lr_schedule",
    "schedule.clip": "schedule.clip_norm",
    "schedule.average": "schedule.ema_decay",
    "task.start": "task.init_from",
    "task.naming": "task.classification_weight",
    "task.tiny_naming": "task.kind_weight",
    "task.tiny_classification_weight": "task.kind_weight",
    "task.read_out": "task.readout",
    "task.readout.closeness": "task.readout.delta_e_weight",
    "task.readout.vividness": "task.readout.chroma_reward",
    "task.own_share": "task.category_share",
    "task.adversary": "task.adversarial_weight",
    "task.encoder": "task.encoder_run",
    "task.reads": "task.input",
    "task.l1": "task.l1_weight",
}
RENAMED_VALUES = {
    ("data.augmentation", "everything"): "full",
    ("data.augmentation", "nothing"): "none",
    ("task.kind", "naming"): "classification",
    ("task.input", "grey"): "gray",
    ("task.input", "colour"): "color",
}


def find_renamed(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A sentence for every renamed key or value in the values of a recipe."""
    if prefix == "task." and values.get("kind") == "joint" and "frozen" in values:  # still a key of other tasks
        yield "task.frozen is now called task.frozen_stages"
    for name, value in values.items():
        key = prefix + name
        new_key = RENAMED.get(key, key)
        if new_key != key:
            yield f"{key} is now called {new_key}"
        if isinstance(value, str) and (new_key, value) in RENAMED_VALUES:
            yield f"the value {value!r} of {new_key} is now {RENAMED_VALUES[new_key, value]!r}"
        if isinstance(value, Mapping):
            yield from find_renamed(value, f"{new_key}.")
