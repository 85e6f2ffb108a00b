"""The learning-rate schedule."""

from math import cos, pi

from training.config.recipe import Schedule


def lr_factor(schedule: Schedule, step: int) -> float:
    """The factor on the learning rate at a step: a linear warmup, then constant, or a cosine to 0."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if schedule.lr_schedule == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)))
