import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab

from models.lab import lab_to_srgb, lightness_to_luma, luma_to_lightness, rgb_to_luma, srgb_to_lab


def as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def test_lab_agrees_with_scikit_image(photographs: dict[str, Image.Image]) -> None:
    picture = photographs["flower"]
    lab = srgb_to_lab(as_tensor(picture))[0].permute(1, 2, 0).numpy()
    assert np.abs(lab - rgb2lab(np.array(picture))).max() < 0.02


def test_lab_round_trip_is_identity(photographs: dict[str, Image.Image]) -> None:
    rgb = as_tensor(photographs["person"])
    assert (lab_to_srgb(srgb_to_lab(rgb)) - rgb).abs().max() < 1e-4


def test_luma_equals_pillow_gray(photographs: dict[str, Image.Image]) -> None:
    picture = photographs["city"]
    levels = (rgb_to_luma(as_tensor(picture))[0, 0] * 255).round().numpy()
    assert np.abs(levels - np.array(picture.convert("L"))).max() <= 1


def test_lightness_of_gray_equals_lab_and_is_invertible() -> None:
    gray = torch.linspace(0, 1, 256)
    L = luma_to_lightness(gray)
    lab = srgb_to_lab(gray.view(1, 1, 1, -1).expand(1, 3, 1, 256))
    assert (L - lab[0, 0, 0]).abs().max() < 1e-3
    assert lab[0, 1:].abs().max() < 0.05
    assert (lightness_to_luma(L) - gray).abs().max() < 1e-5


def test_colors_outside_srgb_are_clipped() -> None:
    saturated = torch.tensor([50.0, 120.0, -120.0]).view(1, 3, 1, 1)
    rgb = lab_to_srgb(saturated)
    assert float(rgb.min()) >= 0
    assert float(rgb.max()) <= 1
