"""ImageNet weights of torchvision's networks, as tensors.

torchvision distributes them as a pickle. It is read once, tensors only, and what is kept is safetensors.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import CheckpointError
from models.torchvision_compat import inception, resnet, vgg

NETWORKS: dict[str, tuple[Any, Callable[[], nn.Module]]] = {
    # name: (the published weights, what they are of)
    "vgg11": (vgg.VGG11_Weights.IMAGENET1K_V1, lambda: vgg.vgg11(init_weights=False)),
    "vgg16": (vgg.VGG16_Weights.IMAGENET1K_V1, lambda: vgg.vgg16(init_weights=False)),
    "vgg19": (vgg.VGG19_Weights.IMAGENET1K_V1, lambda: vgg.vgg19(init_weights=False)),
    "resnet50": (resnet.ResNet50_Weights.IMAGENET1K_V1, resnet.resnet50),
    "inception": (inception.Inception_V3_Weights.IMAGENET1K_V1, lambda: inception.inception_v3(init_weights=False)),
}


def imagenet_weights(network: str, file: Path | None) -> dict[str, Tensor]:
    """The state of torchvision's `network`, from `file` (.safetensors, or the .pth that torchvision distributes) or fetched.

    Raises:
        CheckpointError: the file is missing, damaged or of another network, or there is neither a file nor a connection.
    """
    weights, build = NETWORKS[network]
    try:
        if file is None:
            state = weights.get_state_dict(progress=True, check_hash=True)
        elif file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # loaders raise almost anything on what is no weights file
        raise CheckpointError(
            f"the ImageNet weights of {network} could not be had from {file or weights.url} ({error}): "
            f"fetch {weights.url} elsewhere and name the file in the recipe, as `weights`."
        ) from error
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    if not isinstance(state, dict) or wanted != {name: getattr(tensor, "shape", None) for name, tensor in state.items()}:
        raise CheckpointError(f"{file} does not hold the tensors of torchvision's {network}: fetch {weights.url}.")
    return dict(state)
