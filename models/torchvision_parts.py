"""The parts of torchvision that we use, imported so that they work beside a torch that its compiled operators do not fit.

torchvision describes its operators `nms` and `qnms` when it is imported, and fails if their schemas are unknown: so it is
wherever its compiled library does not load, a CPU build of torch beside the default wheel for instance. Chromaroute uses only
the Python parts, for which a declared schema without a kernel is enough. Nothing else imports torchvision.
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
