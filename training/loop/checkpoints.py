"""Training states as safetensors, written atomically; never pickles."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.atomic_files import replace_file
from models.errors import CheckpointError


def file_digest(path: Path) -> str:
    """The sha256 of a file; empty if it does not exist."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def save_state(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Save named tensors, and plain values as JSON in the header of the file."""
    content = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, {"meta": json.dumps(meta)})
    replace_file(path, content)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and values that `save_state` saved.

    Raises:
        CheckpointError: the file does not exist, or is not a training state.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: train the recipe that makes it first.")
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118 (it is not a mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not a training state: {error!r}. Delete it and train again.") from error
