"""LPIPS and FID by maintained packages, where they and their weights are at hand; nothing is fetched for them.

`pip install "chromaroute[perceptual]"` brings the packages. The weights are looked for where PyTorch keeps what it has downloaded
(`TORCH_HOME`): AlexNet's of torchvision for LPIPS, the Inception of 2015 of torch-fidelity for FID.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from models.torchvision_compat import AlexNet_Weights  # before the packages, which need it to have been imported
from training.evaluation.frechet import as_tensor, without_gradients
from training.evaluation.study import Witness

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
LPIPS_SIDE, INCEPTION_SIDE = 160, 299


def lpips() -> tuple[str, Witness] | None:
    """Its full name, and a witness that compares each picture with the last one, the truth. None where it is not at hand."""
    weights = AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    if not _at_hand("torchmetrics", weights):
        return None
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric, alone = LearnedPerceptualImagePatchSimilarity("alex", normalize=True), Lock()

    def see(pictures: np.ndarray) -> np.ndarray:
        rgb = as_tensor(pictures, LPIPS_SIDE)
        with alone:  # the metric keeps sums while it works
            return np.array([[float(metric(each[None], rgb[-1:]))] for each in rgb])

    return f"LPIPS (AlexNet, torchmetrics {version('torchmetrics')}, {LPIPS_SIDE} px)", without_gradients(see)


def inception() -> tuple[str, Witness] | None:
    """The name of FID's features, and a witness that sees them `(n,2048)`. None where they are not at hand."""
    if not _at_hand("torch-fidelity", INCEPTION):
        return None
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(_kept() / INCEPTION)).eval()

    def see(pictures: np.ndarray) -> np.ndarray:
        rgb = (as_tensor(pictures, INCEPTION_SIDE) * 255).round().byte()
        return np.asarray(network(rgb)[0].numpy())

    name = f"FID (Inception of 2015 of torch-fidelity {version('torch-fidelity')}, {INCEPTION_SIDE} px by our own resizing)"
    return name, without_gradients(see)


def _at_hand(package: str, weights: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return (_kept() / weights).is_file()


def _kept() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
