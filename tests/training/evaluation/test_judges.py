"""Networks that score colorized pictures: classifiers of torchvision as judges, and perceptual distances."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.evaluation.judge import load_judge
from training.metrics import perceptual
from training.networks.torchvision_compat import AlexNet_Weights, get_model

pytestmark = pytest.mark.slow


def test_torchvision_judge_scores_a_class_by_its_most_probable_label(tmp_path: Path) -> None:
    network = get_model("squeezenet1_1", weights=None)
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    judge = load_judge(f"squeezenet1_1={tmp_path / 'squeezenet.pth'}", torch.device("cpu"))
    assert {"cat", "dog", "bus"} <= set(judge.categories)
    scores = judge.extract(np.random.default_rng(0).integers(0, 255, (2, 40, 50, 3), dtype=np.uint8))
    assert scores.shape == (2, len(judge.categories))
    assert ((scores > 0) & (scores < 0.1)).all()  # an untrained network gives a thousand labels similar probabilities


def test_perceptual_distances_are_only_available_with_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: dict[str, Image.Image]
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert perceptual.lpips() is None
    assert perceptual.inception() is None
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    weights = tmp_path / "checkpoints" / AlexNet_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(get_model("alexnet", weights=None).state_dict(), weights)
    found = perceptual.lpips()
    weights.unlink()  # 230 MiB
    assert found is not None
    name, extract = found
    pairs = [np.random.default_rng(seed).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8) for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:  # pictures are evaluated by several threads
        assert [distances.tolist() for distances in pool.map(extract, pairs)] == [extract(pair).tolist() for pair in pairs]
    assert re.fullmatch(r"LPIPS \(AlexNet, torchmetrics [\d.]+, 160 px\)", name)
    cat = np.array(photographs["cat"])
    distances = extract(np.stack([np.array(photographs["cat"].convert("L").convert("RGB")), cat]))
    assert distances.shape == (2, 1)
    assert distances[1, 0] == pytest.approx(0, abs=1e-6)
    assert distances[0, 0] > 0.001
