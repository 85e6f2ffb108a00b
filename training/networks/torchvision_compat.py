"""The parts of torchvision that Chromaroute uses, imported so that they work without torchvision's compiled operators.

torchvision fails on import if the schemas of its operators `nms` and `qnms` are unknown, which is the case wherever its compiled
library does not load, for instance with a CPU build of torch beside the default wheel of torchvision. Chromaroute uses only Python
parts, for which a schema without a kernel is enough. No other module imports torchvision.
"""

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

try:
    from torchvision.models import AlexNet_Weights, get_model, inception, resnet, vgg
except RuntimeError:  # "operator torchvision::nms does not exist"
    for _operator in ("torchvision::nms", "torchvision::qnms"):
        torch.library.define(_operator, SCHEMA)
    from torchvision.models import AlexNet_Weights, get_model, inception, resnet, vgg

__all__ = ["AlexNet_Weights", "get_model", "inception", "resnet", "vgg"]
