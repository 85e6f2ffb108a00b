"""Reads the tensors of published files, and gives them the names and shapes of our networks, strictly."""

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.errors import CheckpointError

Tensors = dict[str, Tensor]

_WRAPPERS = ("params_ema", "params", "state_dict", "model")  # keys under which training programs store the tensors
_PREFIX = "module."  # of tensors that were trained on several devices
_ORIGINAL, _LEFT, _RIGHT = ".weight_orig", ".weight_u", ".weight_v"  # of a spectral norm


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file, or of one of torch, whose code is never executed.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of formats that torch does not write by itself
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for files that are not its own
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(f"{path} has no tensors that can be read without executing its code: {reason}") from error
    return _unwrapped(content, path)


def renamed(tensors: Mapping[str, Tensor], rules: Mapping[str, str | None], network: str) -> Tensors:
    """Tensors with other names.

    Args:
        tensors: of the published file.
        rules: regular expressions that match whole names, and the new names, or None for tensors that are not needed.
        network: its name, for error messages.

    Raises:
        CheckpointError: a name matches no rule.
    """
    found: Tensors = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules.items():
            if match := re.fullmatch(pattern, name):
                if replacement is not None:
                    found[match.expand(replacement)] = tensor
                break
        else:
            raise CheckpointError(f"the file has the tensor {name!r}, which {network} has not: it is of another network.")
    return found


def folded(tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors in which a weight with a spectral norm is the weight that it stands for: W / (uᵀ W v)."""
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith((_ORIGINAL, _LEFT, _RIGHT))}
    for name, weight in tensors.items():
        if name.endswith(_ORIGINAL):
            stem = name.removesuffix(_ORIGINAL)
            left, right = tensors[stem + _LEFT], tensors[stem + _RIGHT]
            result[f"{stem}.weight"] = weight / torch.dot(left, torch.mv(weight.flatten(1), right))
    return result


def _unwrapped(content: Any, path: Path) -> Tensors:
    while isinstance(content, dict) and (wrapper := next((key for key in _WRAPPERS if isinstance(content.get(key), dict)), None)):
        content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no named tensors: give the file of the weights that the authors published.")
    strip: Callable[[str], str] = lambda name: name.removeprefix(_PREFIX)  # noqa: E731
    return {strip(name): tensor.float() if tensor.is_floating_point() else tensor for name, tensor in content.items()}
