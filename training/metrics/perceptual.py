"""LPIPS and FID features by maintained packages, if these and their weights are installed; nothing is downloaded.

`pip install "chromaroute[perceptual]"` installs the packages. The weights are expected where PyTorch stores its downloads
(`TORCH_HOME`): AlexNet of torchvision for LPIPS, the Inception of 2015 of torch-fidelity for FID.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from training.metrics.frechet import FeatureExtractor, in_inference_mode, resized_rgb
from training.networks.torchvision_compat import AlexNet_Weights  # before the packages, which need it to be imported

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
LPIPS_SIDE, INCEPTION_SIDE = 160, 299


def lpips() -> tuple[str, FeatureExtractor] | None:
    """The full name of LPIPS, and a function from RGB bytes `(n,h,w,3)` to distances `(n,1)` from the last picture, the truth.

    None if the package or its weights are not installed.
    """
    weights = AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    if not _is_installed("torchmetrics", weights):
        return None
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric, lock = LearnedPerceptualImagePatchSimilarity("alex", normalize=True), Lock()

    def compare(pictures: np.ndarray) -> np.ndarray:
        rgb = resized_rgb(pictures, LPIPS_SIDE)
        with lock:  # the metric accumulates state during a call
            return np.array([[float(metric(picture[None], rgb[-1:]))] for picture in rgb])

    return f"LPIPS (AlexNet, torchmetrics {version('torchmetrics')}, {LPIPS_SIDE} px)", in_inference_mode(compare)


def inception() -> tuple[str, FeatureExtractor] | None:
    """The name of FID's features, and a function from RGB bytes `(n,h,w,3)` to `(n,2048)`; None if it is not installed."""
    if not _is_installed("torch-fidelity", INCEPTION):
        return None
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(_folder() / INCEPTION)).eval()

    def extract(pictures: np.ndarray) -> np.ndarray:
        rgb = (resized_rgb(pictures, INCEPTION_SIDE) * 255).round().byte()
        return np.asarray(network(rgb)[0].numpy())

    name = f"FID (Inception of 2015 of torch-fidelity {version('torch-fidelity')}, {INCEPTION_SIDE} px by our own resizing)"
    return name, in_inference_mode(extract)


def _is_installed(package: str, weights: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return (_folder() / weights).is_file()


def _folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
