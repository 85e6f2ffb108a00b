"""OpenVINO without its telemetry, which reports to its makers that it is imported and what is converted, by forked processes."""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO goes on without it

import openvino  # noqa: E402
from openvino import CompiledModel, Core, InferRequest, Model, Tensor, opset13  # noqa: E402

__all__ = ["CompiledModel", "Core", "InferRequest", "Model", "Tensor", "openvino", "opset13"]
