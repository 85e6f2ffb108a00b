"""Experts of the files of published networks, and of ONNX files, which are tried before."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.colorizers.onnx import INPUTS, OnnxColorizer
from models.errors import CheckpointError, EngineError
from models.published.catalog import CatalogEntry
from models.published.importing import NewExpert, safetensors_content
from models.published.networks import NETWORKS, converted
from models.published.tensors import read_tensors

_WEAK, _WILD = 2.0, 120.0  # ab units: a network whose output never exceeds the one, or is often above the other, has another scale


def published_expert(name: str, entry: CatalogEntry, path: Path) -> NewExpert:
    """The expert of a published file.

    Raises:
        CheckpointError: the file is of another network.
    """
    network = NETWORKS[entry.network]
    arguments, tensors = converted(entry.network, read_tensors(path))
    if name == "ddcolor":
        name = f"ddcolor-{arguments['size']}"
    return NewExpert(
        name, network.family, arguments, safetensors_content(tensors), ".safetensors", network.working_size, "square",
        entry.license, entry.title,
    )  # fmt: skip


def onnx_expert(path: Path, license: str, reads: str, gives: str, scale: float, output_scale: float, size: int) -> NewExpert:
    """The expert of an ONNX file, which is run on a picture to see whether the arguments are right.

    Args:
        path: of the file, whose name becomes that of the expert.
        license: of the network.
        reads: as of `models.colorizers.onnx.OnnxColorizer`, as are `gives`, `scale` and `output_scale`.
        gives: what it gives.
        scale: of its input.
        output_scale: of its output.
        size: in pixels, of the input if the file takes any.

    Raises:
        CheckpointError: the network has another input or output, or its colors are not plausible.
        EngineError: OpenVINO cannot run it.
    """
    content = path.read_bytes()
    arguments: dict[str, Any] = {"size": len(content), "reads": reads, "gives": gives, "scale": scale, "output_scale": output_scale}
    try:
        expert = OnnxColorizer(**arguments)
    except ValueError as error:
        raise CheckpointError(f"{error}.") from error
    expert.load_state_dict({"model": torch.frombuffer(bytearray(content), dtype=torch.uint8)})
    arguments["layout"], fixed = _input_of(expert, path)
    size = fixed or size
    arguments["stride"] = fixed or 32
    expert = OnnxColorizer(**arguments)
    expert.load_state_dict({"model": torch.frombuffer(bytearray(content), dtype=torch.uint8)})
    _try(expert, size, path)
    name = "".join(character if character.isalnum() or character in "-." else "-" for character in path.stem.lower()).strip("-.")
    return NewExpert(name or "onnx", "onnx", arguments, content, ".onnx", size, "square", license, f"the ONNX file {path.name}")


def _input_of(expert: OnnxColorizer, path: Path) -> tuple[str, int | None]:
    """The layout of the network, and the side of its input if it takes only one."""
    inputs = expert.network().inputs
    shape = inputs[0].get_partial_shape()
    channels = INPUTS[expert.before.reads]
    if len(inputs) != 1 or len(shape) != 4:
        raise CheckpointError(
            f"{path} has {len(inputs)} inputs, the first of the shape {shape}: give a network with one picture as input."
        )
    sides = [axis.get_length() if axis.is_static else None for axis in shape]
    layout = "nhwc" if sides[3] == channels and sides[1] != channels else "nchw"
    if sides[3 if layout == "nhwc" else 1] not in (channels, None):
        raise CheckpointError(f"{path} has the input {shape}, which is not {expert.before.reads}: give another --reads.")
    height, width = sides[1:3] if layout == "nhwc" else sides[2:]
    if height != width:
        raise CheckpointError(f"{path} has the input {shape}: give a network with a square input, or one of any sides.")
    return layout, height


def _try(expert: OnnxColorizer, size: int, path: Path) -> None:
    """Colorize a gradient with some shapes."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    levels = 30 + 50 * x * (0.5 + 0.5 * np.sin(12 * y)) + 15 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.05)
    L = torch.from_numpy(levels.astype(np.float32))[None, None]
    try:
        ab = expert(L)
    except (RuntimeError, IndexError) as error:
        if isinstance(error, EngineError):
            raise
        raise CheckpointError(f"{path} cannot colorize a picture ({str(error).splitlines()[-1]}): give other options.") from error
    if ab.ndim != 4 or ab.shape[1] != 2:
        raise CheckpointError(f"{path} gives {tuple(ab.shape)}, which is not {expert.after.gives}: give another --gives.")
    if not torch.isfinite(ab).all():
        raise CheckpointError(f"{path} gives numbers that are not finite: give another --scale.")
    most, typical = float(ab.abs().max()), float(ab.abs().median())
    if most < _WEAK or typical > _WILD:
        raise CheckpointError(
            f"{path} gives ab of up to {most:.3g}, {typical:.3g} at the median: its output has another scale; give --output-scale, "
            "such as 110 or 128, or another --gives."
        )
