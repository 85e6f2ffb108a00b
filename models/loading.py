"""Loads a bundle into an engine."""

import logging
from pathlib import Path

from models.bundle_header import EVERYDAY, read_header
from models.engine_options import EngineOptions, usable_cores
from models.ensemble import Ensemble
from models.errors import EngineError, OptionError

log = logging.getLogger("chromaroute")


def load_ensemble(folder: Path = EVERYDAY, options: EngineOptions | None = None) -> Ensemble:
    """The bundle in `folder`, whose files are checked, ready to colorize.

    Raises:
        BundleError: there is no manifest, or it is not valid.
        CheckpointError: a file is missing, or does not match the sha256 or the network of its card.
        EngineError: OpenVINO was asked for, and cannot run a network of the bundle.
        OptionError: the engine cannot use the device.
    """
    options = options or EngineOptions()
    folder = folder.resolve()
    on_processor = options.device == "cpu"
    if options.engine == "openvino" and not on_processor:
        raise OptionError("device", options.device, "cpu, or choose the engine torch")
    if options.engine == "openvino" or (options.engine == "auto" and on_processor):
        from models.openvino_networks import OpenVinoNetworks  # here, because another engine does not need it

        header = read_header(folder)
        try:
            return Ensemble(header, OpenVinoNetworks(folder, header, options))
        except EngineError as error:
            if options.engine == "openvino":
                raise
            log.warning("%s Torch runs this bundle.", error)
    from models.bundle import load_bundle  # here, because importing torch takes seconds and 200 MB
    from models.runtime import Runtime
    from models.torch_networks import TorchEnsemble

    precision = "float32" if options.precision == "auto" else options.precision
    threads = options.threads if options.parallel == 1 else max(1, (options.threads or usable_cores()) // options.parallel)
    return TorchEnsemble(load_bundle(folder, options.expert_bytes), Runtime(options.device, precision, threads))
