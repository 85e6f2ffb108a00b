"""Writes the networks of a bundle as OpenVINO models.

A process of its own (`models.openvino_cache`) does this once for a bundle, so that servers never import torch, which takes more
time and memory to start than everything else. Experts whose models differ only in numbers share one model, which reads these
numbers as inputs: it is compiled once, and its memory is needed once.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from models.atomic_files import replace_file
from models.bundle import Bundle, load_bundle
from models.colorizers import BinColorizer, Colorizer, HintedColorizer
from models.colorizers.onnx import OUTPUTS, OnnxColorizer
from models.errors import BundleError, EngineError
from models.openvino_index import INDEX, LOGITS, ExpertFiles, Failure, Index, TrunkFiles
from models.openvino_runtime import Model, openvino, opset13
from models.traceable import ExpertOfTaps, ExpertWithHints, ExpertWithLogits, TrunkWithClassifier, strides_that_are_read
from models.vgg import STRIDE

SIDE = 2 * STRIDE  # in pixels, of the lightness with which networks are traced


def export(bundle: Bundle, folder: Path) -> None:
    """Write the models of a bundle: of each trunk with the classifier that reads it, and of the experts; then the index."""
    L = torch.zeros(1, 1, SIDE, SIDE)
    trunks: dict[str, TrunkFiles] = {}
    converted: dict[str, Model] = {}
    with torch.inference_mode():
        taps = {name: trunk(L) for name, trunk in bundle.trunks.items()}
        for name, trunk in bundle.trunks.items():
            strides = strides_that_are_read(bundle, name, taps[name], L)
            classifier = bundle.classifier if bundle.manifest.router.trunk == name else None
            file = f"trunk-{name}.xml"
            openvino.save_model(
                convert(TrunkWithClassifier(trunk, strides, classifier), (L,)), folder / file, compress_to_fp16=False
            )
            trunks[name] = TrunkFiles(model=file, taps=strides)
        for name, card in bundle.manifest.experts.items():
            expert = bundle.experts[name]
            if isinstance(expert, OnnxColorizer):
                converted[name] = _with_conversions(expert)
            elif isinstance(expert, HintedColorizer):
                converted[name] = convert(ExpertWithHints(expert), (L, torch.zeros(1, 3, SIDE, SIDE)))
            else:
                strides = [] if card.trunk is None else trunks[card.trunk].taps
                network = expert if card.trunk is None else ExpertOfTaps(expert, strides)
                inputs = (L, *(taps[card.trunk or ""][stride] for stride in strides))
                is_distribution = isinstance(expert, BinColorizer)
                converted[name] = _with_named_logits(network, inputs) if is_distribution else convert(network, inputs)
    experts = {}
    for names in _groups(converted):
        for name, files in _save_group({name: converted[name] for name in names}, folder).items():
            expert = bundle.experts[name]
            experts[name] = ExpertFiles(
                model=files[0],
                weights=files[1],
                stride=expert.stride,
                reads_hints=isinstance(expert, HintedColorizer),
                bins=expert.bins.centers.tolist() if isinstance(expert, BinColorizer) else None,
            )
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    index = Index(trunks=trunks, experts=experts, digests=digests)
    replace_file(folder / INDEX, index.model_dump_json(indent=1).encode())


def convert(network: nn.Module, inputs: tuple[Tensor, ...]) -> Model:
    """A network as an OpenVINO model.

    Raises:
        EngineError: it does what OpenVINO cannot, such as drawing noise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of sizes that it follows, and of being deprecated
        traced = torch.jit.trace(network.eval(), inputs, check_trace=False)  # type: ignore[no-untyped-call]
        try:
            return openvino.convert_model(traced, example_input=inputs)
        except openvino.frontend.OpConversionFailure as error:
            reason = str(error).strip().splitlines()[-1].strip("- ")
            raise EngineError(f"OpenVINO cannot run a network of the bundle ({reason}): choose the engine torch.") from error


def _with_named_logits(network: Colorizer | ExpertOfTaps, inputs: tuple[Tensor, ...]) -> Model:
    """The model of an expert with one output, ab, in which the operation that computes the logits is called `LOGITS`."""
    model = convert(ExpertWithLogits(network), inputs)
    logits = model.get_results()[1]
    logits.input_value(0).get_node().set_friendly_name(LOGITS)
    model.remove_result(logits)
    return model


def _with_conversions(expert: OnnxColorizer) -> Model:
    """The model of an ONNX file from lightness to ab."""
    before = convert(expert.before, (torch.zeros(1, 1, SIDE, SIDE),))
    network = expert.network()
    channels = OUTPUTS[expert.after.gives][1]
    shape = (1, SIDE, SIDE, channels) if expert.after.layout == "nhwc" else (1, channels, SIDE, SIDE)
    after = convert(expert.after, (torch.zeros(shape),))
    for first, second in ((before, network), (network, after)):
        source = first.get_results()[0].input_value(0)
        for target in second.get_parameters()[0].output(0).get_target_inputs():
            target.replace_source_output(source)
    return Model(after.get_results(), before.get_parameters())


def _groups(models: Mapping[str, Model]) -> Iterable[list[str]]:
    """The names of models that have the same operations."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, model in models.items():
        shape = tuple(f"{each.get_type_name()} {each.outputs()} {each.get_attributes()}" for each in model.get_ordered_ops())
        groups.setdefault(shape, []).append(name)
    return groups.values()


def _save_group(models: Mapping[str, Model], folder: Path) -> dict[str, tuple[str, str | None]]:
    """Write one model for models that have the same operations, and the numbers in which they differ for each of them.

    Returns the names of the files of the model and of its numbers, by the name of the expert.
    """
    first, *others = models
    file = f"expert-{first}.xml"
    if not others:
        openvino.save_model(models[first], folder / file, compress_to_fp16=False)
        return {first: (file, None)}
    constants = {
        name: [each for each in model.get_ordered_ops() if each.get_type_name() == "Constant"] for name, model in models.items()
    }
    differing = [
        place
        for place, constant in enumerate(constants[first])
        if any(not np.array_equal(constant.data, constants[name][place].data) for name in others)
    ]
    for name in models:
        numbers = {_name(place): np.array(constants[name][place].data) for place in differing}
        save_file(numbers, folder / f"expert-{name}.safetensors")
    parameters = []
    for place in differing:
        constant = constants[first][place]
        parameter = opset13.parameter(list(constant.shape), constant.get_element_type(), name=_name(place))
        parameter.output(0).get_tensor().set_names({_name(place)})
        for target in constant.output(0).get_target_inputs():
            target.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    models[first].add_parameters(parameters)
    models[first].validate_nodes_and_infer_types()
    openvino.save_model(models[first], folder / file, compress_to_fp16=False)
    return {name: (file, f"expert-{name}.safetensors") for name in models}


def _name(place: int) -> str:
    """Of the input that replaces a constant; the tracer names other inputs by numbers."""
    return f"constant-{place}"


def main() -> None:
    """Write the models of a bundle. The error, if there is one, goes to the standard output as JSON."""
    torch.set_num_threads(1)  # the networks are small, and only traced
    bundle, folder = map(Path, sys.argv[1:])
    try:
        export(load_bundle(bundle), folder)
    except BundleError as error:
        print(Failure(type=type(error).__name__, message=str(error)).model_dump_json())
        sys.exit(1)
