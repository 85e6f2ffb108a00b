"""Runs the networks of a bundle with OpenVINO, on processors: faster than torch, and in less memory (docs/performance.md)."""

import shutil
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from models.bundle_header import BundleHeader, check_file
from models.engine_options import EngineOptions
from models.expert_cache import ExpertCache
from models.lab import Float32Array
from models.networks import probabilities_at
from models.openvino_cache import find_models
from models.openvino_index import LOGITS
from models.openvino_runtime import CompiledModel, Core, InferRequest, Tensor

_PRECISIONS = {"auto": "bf16", "bfloat16": "bf16", "float32": "f32"}  # OpenVINO uses f32 where the processor has no bfloat16

Features = Mapping[str, Sequence[Float32Array]]  # taps, and probabilities if the classifier reads the trunk


class OpenVinoNetworks:
    """The networks of the bundle in a folder; see `models.networks.Networks`.

    Args:
        folder: of the bundle, whose files are checked.
        bundle: what its manifest says.
        options: of the engine.

    Raises:
        BundleError: the bundle cannot be loaded.
        CheckpointError: a file is missing or altered.
    """

    def __init__(self, folder: Path, bundle: BundleHeader, options: EngineOptions) -> None:
        for name, card in bundle.manifest.cards().items():
            check_file(folder / card.file, card, name)
        self._folder, self._index = find_models(folder, bundle.manifest, options.cache_dir)
        if self._folder.parent != options.cache_dir:  # which cannot be written
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        hints = {"NUM_STREAMS": str(options.parallel), "INFERENCE_PRECISION_HINT": _PRECISIONS[options.precision]}
        self._core = Core()
        self._core.set_property("CPU", {**hints, **({"INFERENCE_NUM_THREADS": options.threads} if options.threads else {})})
        self._shared: dict[tuple[str, bool], _Network] = {}
        self._experts = ExpertCache(self._index.experts, self._load, lambda expert: expert.bytes, options.expert_bytes)

    def features(self, trunk: str, L: Float32Array) -> Features:
        files = self._index.trunks[trunk]
        outputs = self._network(files.model).infer([L])
        return {"taps": outputs[: len(files.taps)], "probabilities": outputs[len(files.taps) :]}

    def probabilities(self, features: Features) -> Float32Array:
        probabilities: Float32Array = features["probabilities"][0][0]
        return probabilities

    def stride(self, expert: str) -> int:
        return self._index.experts[expert].stride

    def ab(self, expert: str, L: Float32Array, features: Features | None, hints: Float32Array | None = None) -> Float32Array:
        loaded = self._experts[expert]
        inputs = [L] if features is None else [L, *features["taps"]]
        if self._index.experts[expert].reads_hints:
            inputs.append(np.zeros((1, 3, *L.shape[2:]), np.float32) if hints is None else hints)
        return loaded.network.infer(inputs, loaded.weights)[0]

    def distribution(
        self, expert: str, L: Float32Array, features: Features | None, at: tuple[float, float]
    ) -> tuple[Float32Array, Float32Array] | None:
        files = self._index.experts[expert]
        if files.bins is None:
            return None
        network = self._network(files.model, with_logits=True)
        _, logits = network.infer([L] if features is None else [L, *features["taps"]], self._experts[expert].weights)
        return np.array(files.bins, np.float32), probabilities_at(logits, at)

    def _load(self, name: str) -> "_Expert":
        files = self._index.experts[name]
        if files.weights is None:
            size = (self._folder / files.model).with_suffix(".bin").stat().st_size
            return _Expert(self._compiled(files.model), {}, size)
        arrays = load_file(self._folder / files.weights)
        weights = {key: Tensor(array) for key, array in arrays.items()}
        return _Expert(self._network(files.model), weights, sum(array.nbytes for array in arrays.values()))

    def _network(self, name: str, with_logits: bool = False) -> "_Network":
        """A network that is kept."""
        if (name, with_logits) not in self._shared:
            self._shared[name, with_logits] = self._compiled(name, with_logits)
        return self._shared[name, with_logits]

    def _compiled(self, name: str, with_logits: bool = False) -> "_Network":
        model = self._core.read_model(self._folder / name)
        if with_logits:
            model.add_outputs([each.output(0) for each in model.get_ops() if each.get_friendly_name() == LOGITS])
        has_attention = any(operation.get_type_name() == "ScaledDotProductAttention" for operation in model.get_ops())
        # fused attention fails in bfloat16 for some sizes: "Cannot initialize brgemm descriptor" (OpenVINO 2026.4)
        return _Network(self._core.compile_model(model, "CPU", {"SNIPPETS_MODE": "DISABLE"} if has_attention else {}))


@dataclass(frozen=True)
class _Expert:
    """An expert in memory: a network, which other experts may share, and its own numbers by name of input."""

    network: "_Network"
    weights: Mapping[str, Tensor]
    bytes: int


class _Network:
    """A compiled model, and its inference requests, whose memory is used again."""

    def __init__(self, model: CompiledModel) -> None:
        self._model = model
        self._requests: deque[InferRequest] = deque()  # which no thread uses

    def infer(self, inputs: Sequence[Float32Array], weights: Mapping[str, Tensor] | None = None) -> list[Float32Array]:
        """The outputs of the model. Threads may call at the same time."""
        try:
            request = self._requests.pop()
        except IndexError:
            request = self._model.create_infer_request()
        arrays = [np.require(array, requirements=("C", "W")) for array in inputs]  # which must exist during the inference
        for position, array in enumerate(arrays):
            request.set_input_tensor(position, Tensor(array, shared_memory=True))
        for name, numbers in (weights or {}).items():
            request.set_tensor(name, numbers)
        request.infer()
        outputs = [np.array(request.get_output_tensor(position).data) for position in range(len(self._model.outputs))]
        self._requests.append(request)
        return outputs
