"""ImageNet weights of torchvision's networks, as tensors.

torchvision distributes them as pickles, of which only tensors are read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import CheckpointError
from training.networks.torchvision_compat import inception, resnet, vgg

NETWORKS: dict[str, tuple[Any, Callable[[], nn.Module]]] = {
    # name: (the published weights, the network)
    "vgg11": (vgg.VGG11_Weights.IMAGENET1K_V1, lambda: vgg.vgg11(init_weights=False)),
    "vgg16": (vgg.VGG16_Weights.IMAGENET1K_V1, lambda: vgg.vgg16(init_weights=False)),
    "vgg19": (vgg.VGG19_Weights.IMAGENET1K_V1, lambda: vgg.vgg19(init_weights=False)),
    "resnet50": (resnet.ResNet50_Weights.IMAGENET1K_V1, resnet.resnet50),
    "inception": (inception.Inception_V3_Weights.IMAGENET1K_V1, lambda: inception.inception_v3(init_weights=False)),
}


def imagenet_weights(network: str, file: Path | None) -> dict[str, Tensor]:
    """The state dictionary of torchvision's `network`, from `file` (.safetensors, or the .pth of torchvision), or downloaded.

    Raises:
        CheckpointError: the file is missing, damaged or of another network, or the download fails.
    """
    weights, build = NETWORKS[network]
    try:
        if file is None:
            state = weights.get_state_dict(progress=True, check_hash=True)
        elif file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # loaders raise almost anything on other files
        raise CheckpointError(
            f"the ImageNet weights of {network} cannot be loaded from {file or weights.url} ({error}): "
            f"download {weights.url} elsewhere and set `weights` in the recipe to the file."
        ) from error
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build().state_dict().items()}
    if not isinstance(state, dict) or shapes != {name: getattr(tensor, "shape", None) for name, tensor in state.items()}:
        raise CheckpointError(f"{file} does not contain the tensors of torchvision's {network}: download {weights.url}.")
    return dict(state)
