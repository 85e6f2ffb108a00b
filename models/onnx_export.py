"""Writes the networks of a bundle as ONNX files, for other programs: a trunk with the classifier, and each expert.

`networks.json` says how they belong together: which file, of which inputs, colorizes which category.
"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.atomic_files import replace_file
from models.bundle import Bundle
from models.colorizers import HintedColorizer
from models.colorizers.onnx import OnnxColorizer
from models.errors import EngineError
from models.traceable import ExpertOfTaps, ExpertWithHints, TrunkWithClassifier, strides_that_are_read
from models.vgg import STRIDE

INDEX = "networks.json"

_OPSET = 17  # which every version of ONNX Runtime since 2022 runs
_SIDE = 2 * STRIDE
_SIDES = {2: "height", 3: "width"}


def export_onnx(bundle: Bundle, folder: Path) -> list[str]:
    """Write the networks of a bundle; returns the names of the files.

    A trunk reads `lightness` `(1,1,h,w)` in [0, 100], and gives `tap4`, `tap8` and so on, and `probabilities`
    `(1, categories + 1)`. An expert reads `lightness`, and the taps if it has a trunk, and gives `ab` `(1,2,h',w')` in CIELAB
    units.

    Raises:
        EngineError: the package onnx is not installed, or a network cannot be written.
    """
    manifest, files = bundle.manifest, {}
    L, described = torch.zeros(1, 1, _SIDE, _SIDE), {}
    taps, strides = {}, {}
    for name, trunk in bundle.trunks.items():
        with torch.inference_mode():
            taps[name] = trunk(L)
            strides[name] = strides_that_are_read(bundle, name, taps[name], L)
        classifier = bundle.classifier if manifest.router.trunk == name else None
        outputs = [*(f"tap{stride}" for stride in strides[name]), *(["probabilities"] if classifier else [])]
        files[f"trunk-{name}.onnx"] = _exported(TrunkWithClassifier(trunk, strides[name], classifier), (L,), ["lightness"], outputs)
    for name, card in manifest.experts.items():
        expert, file, inputs = bundle.experts[name], f"expert-{name}.onnx", ["lightness"]
        if isinstance(expert, OnnxColorizer):
            files[file] = expert.model.numpy().tobytes()
        elif card.trunk is not None:
            inputs += [f"tap{stride}" for stride in strides[card.trunk]]
            values = (L, *(taps[card.trunk][stride] for stride in strides[card.trunk]))
            files[file] = _exported(ExpertOfTaps(expert, strides[card.trunk]), values, inputs, ["ab"])
        elif isinstance(expert, HintedColorizer):
            inputs.append("hints")
            files[file] = _exported(ExpertWithHints(expert), (L, torch.zeros(1, 3, _SIDE, _SIDE)), inputs, ["ab"])
        else:
            files[file] = _exported(expert, (L,), inputs, ["ab"])
        described[name] = {
            "file": file, "inputs": _inputs(files[file]), "trunk": card.trunk and f"trunk-{card.trunk}.onnx",
            "working_size": card.working_size, "fit": card.fit, "stride": expert.stride, "normalize_tones": card.normalize_tones,
            "license": card.license,
        }  # fmt: skip
    index = {
        "bundle": bundle.label, "license": manifest.license, "classifier": f"trunk-{manifest.router.trunk}.onnx",
        "classes": [*bundle.router.categories, None], "threshold": manifest.router.threshold, "fallback": manifest.router.fallback,
        "categories": manifest.categories, "experts": described,
    }  # fmt: skip
    for name, content in {**files, INDEX: (json.dumps(index, indent=1) + "\n").encode()}.items():
        replace_file(folder / name, content)
    return [*files, INDEX]


def _inputs(content: bytes) -> list[str]:
    """The names of the inputs of a file: those that its network does not read are left out."""
    import onnx  # here, because it is an extra

    return [value.name for value in onnx.load_from_string(content).graph.input]


def _exported(network: nn.Module, inputs: tuple[Any, ...], names: list[str], outputs: list[str]) -> bytes:
    axes = {name: _SIDES for name in (*names, *outputs) if name != "probabilities"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracer warns of sizes that it follows, and of being deprecated
                torch.onnx.export(
                    network.eval(), inputs, path, dynamo=False, input_names=names, output_names=outputs, dynamic_axes=axes,
                    opset_version=_OPSET,
                )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            raise EngineError(f"the networks cannot be written as ONNX ({error}): install the extra onnx.") from error
        return path.read_bytes()
