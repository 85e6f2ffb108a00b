"""Files that are whole or absent: write aside, then replace. Training states are safetensors too, never pickles."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.errors import CheckpointError


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, flush it to the disk, then put it in place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def save_state(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Save tensors by name, with what else is needed to go on as JSON in the file's header."""
    content = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, {"meta": json.dumps(meta)})
    replace_file(path, content)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` saved.

    Raises:
        CheckpointError: there is no such file, or it is no training state.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: train the recipe that makes it first.")
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is no training state: {error!r}. Delete it and train again.") from error
