"""Any network in an ONNX file that makes colors of gray, run by OpenVINO. The file must contain all weights."""

import io
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from models.colorizers.base import Colorizer
from models.errors import EngineError
from models.lab import lightness_to_luma, srgb_to_lab

INPUTS = {"gray": 1, "rgb": 3, "lightness": 1}  # what a network reads, and its channels
OUTPUTS = {"ab": (0, 2), "lab": (1, 3), "rgb": (0, 3)}  # what it gives, and which of its channels are used
LAYOUTS = ("nchw", "nhwc")


class OnnxColorizer(Colorizer):
    """Predicts with the network of an ONNX file, whose bytes are the buffer `model`.

    Args:
        size: bytes of the file.
        reads: `gray`, or `rgb` with three equal channels, both from 0 to `scale`; or `lightness`, from 0 to `scale`.
        gives: `ab`, `lab` or `rgb`.
        scale: white of the input, such as 1, 100 or 255.
        output_scale: by which its ab or Lab is multiplied; white of its RGB.
        layout: of input and output, `nchw` or `nhwc`.
        stride: of which its sides are multiples; the working size, if the network has only one.

    Raises:
        ValueError: an argument is not valid.
    """

    model: Tensor

    def __init__(
        self,
        size: int,
        reads: str = "rgb",
        gives: str = "ab",
        scale: float = 1.0,
        output_scale: float = 1.0,
        layout: str = "nchw",
        stride: int = 32,
    ) -> None:
        super().__init__()
        for name, value, valid in (("reads", reads, INPUTS), ("gives", gives, OUTPUTS), ("layout", layout, LAYOUTS)):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}: give one of {', '.join(valid)}")
        self.stride = stride
        self.before = BeforeOnnx(reads, scale, layout)
        self.after = AfterOnnx(gives, output_scale, layout)
        self.register_buffer("model", torch.zeros(size, dtype=torch.uint8))
        self._compiled: Any = None

    def predict(self, L: Tensor) -> Tensor:
        from models.openvino_runtime import Core  # here, because other networks do not need it in torch

        if self._compiled is None:
            self._compiled = Core().compile_model(self.network(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        pictures = [self._compiled(self.before(picture[None]).float().cpu().numpy())[0] for picture in L]
        return torch.from_numpy(np.concatenate(pictures)).to(L.device)

    def decode(self, predicted: Tensor, L: Tensor) -> Tensor:
        return cast(Tensor, self.after(predicted))

    def network(self) -> Any:
        """The network as a model of OpenVINO.

        Raises:
            EngineError: OpenVINO cannot read the file.
        """
        from models.openvino_runtime import Core

        try:
            return Core().read_model(io.BytesIO(self.model.numpy().tobytes()))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"OpenVINO cannot read the ONNX file ({reason}): export it again, with all weights in it.") from error


class BeforeOnnx(nn.Module):
    """From lightness `(n,1,h,w)` in [0, 100] to the input of a network; arguments as of `OnnxColorizer`."""

    def __init__(self, reads: str, scale: float, layout: str) -> None:
        super().__init__()
        self.reads, self.scale, self.layout = reads, scale, layout

    def forward(self, L: Tensor) -> Tensor:
        x = (L / 100 if self.reads == "lightness" else lightness_to_luma(L)) * self.scale
        x = x.repeat(1, INPUTS[self.reads], 1, 1)
        return x.permute(0, 2, 3, 1) if self.layout == "nhwc" else x


class AfterOnnx(nn.Module):
    """From the output of a network to ab `(n,2,h,w)` in CIELAB units, at most 128; arguments as of `OnnxColorizer`."""

    def __init__(self, gives: str, output_scale: float, layout: str) -> None:
        super().__init__()
        self.gives, self.output_scale, self.layout = gives, output_scale, layout

    def forward(self, output: Tensor) -> Tensor:
        x = output.permute(0, 3, 1, 2) if self.layout == "nhwc" else output
        first, last = OUTPUTS[self.gives]
        x = x[:, first:last]
        if self.gives == "rgb":
            return srgb_to_lab((x / self.output_scale).clamp(0, 1))[:, 1:]
        return (x * self.output_scale).clamp(-128, 128)
