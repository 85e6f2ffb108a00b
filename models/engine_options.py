"""Which engine runs the networks, and how."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from platformdirs import user_cache_path

from models.errors import OptionError

EngineName = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "float32", "bfloat16"]


def usable_cores() -> int:
    """The cores on which the system lets this process run."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def default_cache_dir() -> Path:
    """The folder of this user for files that can be made again."""
    return user_cache_path("chromaroute", appauthor=False)


@dataclass(frozen=True)
class EngineOptions:
    """Options of the engine.

    Args:
        engine: `openvino` runs on processors, `torch` on any device of torch; `auto` is OpenVINO on a processor.
        device: of torch.
        precision: `auto` is bfloat16 for OpenVINO, where the processor supports it, and float32 for torch.
        threads: of the networks; 0 for all cores.
        expert_bytes: memory budget for experts, of which the least recently used are evicted; None keeps all.
        cache_dir: keeps the models that OpenVINO needs, which are made at the first use of a bundle.
        parallel: how many pictures threads of the caller predict at a time, each with its share of `threads`. One picture is
            fastest with 1; for many, one thread for each is faster.

    Raises:
        OptionError: there is no such engine or precision.
    """

    engine: EngineName = "auto"
    device: str = "cpu"
    precision: Precision = "auto"
    threads: int = 0
    expert_bytes: int | None = None
    cache_dir: Path = field(default_factory=default_cache_dir)
    parallel: int = 1

    def __post_init__(self) -> None:
        for name, valid in (("engine", EngineName), ("precision", Precision)):
            if (value := getattr(self, name)) not in get_args(valid):
                raise OptionError(name, value, get_args(valid))
