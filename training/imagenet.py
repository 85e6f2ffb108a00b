"""ImageNet weights of torchvision's VGG-16 and VGG-19, as the tensors of a trunk and of a classifier.

torchvision distributes them as a pickle. It is read once, tensors only, and what is kept is safetensors.
"""

from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.errors import CheckpointError
from models.torchvision_parts import vgg

WEIGHTS = {"vgg16": vgg.VGG16_Weights.IMAGENET1K_V1, "vgg19": vgg.VGG19_Weights.IMAGENET1K_V1}
BUILDERS = {"vgg16": vgg.vgg16, "vgg19": vgg.vgg19}


def imagenet_weights(network: str, file: Path | None) -> dict[str, Tensor]:
    """The state of torchvision's `network`, from `file` (.safetensors, or the .pth that torchvision distributes) or fetched.

    Raises:
        CheckpointError: the file is missing, damaged or of another network, or there is neither a file nor a connection.
    """
    weights = WEIGHTS[network]
    try:
        if file is None:
            state = weights.get_state_dict(progress=True, check_hash=True)
        elif file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, URLError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"the ImageNet weights of {network} could not be had from {file or weights.url} ({error}): "
            f"fetch {weights.url} elsewhere and name the file in the recipe, router.weights."
        ) from error
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in BUILDERS[network](init_weights=False).state_dict().items()}
    if not isinstance(state, dict) or wanted != {name: getattr(tensor, "shape", None) for name, tensor in state.items()}:
        raise CheckpointError(f"{file} does not hold the tensors of torchvision's {network}: fetch {weights.url}.")
    return dict(state)
