"""Training pictures that look like old prints, and the tones that the networks see."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.tones import normalized_tones
from training.data import old_prints
from training.data.old_prints import Effect
from training.losses import unevenness

EFFECTS = [
    old_prints.gamma, old_prints.contrast, old_prints.faded, old_prints.vignetted, old_prints.unevenly_exposed, old_prints.soft,
    old_prints.grainy, old_prints.scratched, old_prints.dusty, old_prints.halftoned, old_prints.compressed,
]  # fmt: skip


@pytest.fixture
def L() -> Tensor:
    """Twelve pictures of 64 px with a gradient and a darker square."""
    L = torch.linspace(20, 90, 64).expand(12, 1, 64, 64).clone()
    L[:, :, 20:40, 20:40] = 10
    return L


@pytest.fixture
def ab() -> Tensor:
    return torch.tensor([20.0, 30.0]).view(1, 2, 1, 1).expand(12, 2, 64, 64).clone()


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_every_effect_changes_pictures_reproducibly(effect: Effect, L: Tensor) -> None:
    before = L.clone()
    changed = effect(L, np.random.default_rng(1))
    assert changed.shape == L.shape
    assert torch.isfinite(changed).all()
    assert (changed - L).abs().mean() > 0.02
    assert torch.equal(changed, effect(L, np.random.default_rng(1)))
    assert torch.equal(L, before)


def test_old_prints_stay_in_range_and_others_stay_as_they_are(L: Tensor, ab: Tensor) -> None:
    old, colors = old_prints.old_prints(L, ab, np.random.default_rng(0))
    assert old.min() >= 0
    assert old.max() <= 100
    unchanged = [torch.equal(after, before) for after, before in zip(old, L, strict=True)]
    assert 0 < sum(unchanged) < len(L)
    same, same_colors = old_prints.old_prints(L, ab, np.random.default_rng(0), share=0)
    assert torch.equal(same, L)
    assert torch.equal(same_colors, ab)
    assert colors.shape == ab.shape


def test_frames_are_neutral_and_keep_the_colors_inside(L: Tensor, ab: Tensor) -> None:
    _, colors = old_prints.framed(L, ab, np.random.default_rng(3))
    assert colors[:, :, 0].abs().max() == 0
    assert torch.allclose(colors[:, :, 30:34, 30:34], ab[:, :, 30:34, 30:34])


def test_film_that_does_not_see_red_makes_red_darker() -> None:
    red = torch.tensor([[53.0], [80.0], [67.0]]).view(1, 3, 1, 1).expand(40, 3, 2, 2)
    seen = old_prints.film_response(red[:, :1], red[:, 1:], np.random.default_rng(0))
    assert seen.min() < 30
    gray = old_prints.film_response(red[:, :1], torch.zeros(40, 2, 2, 2), np.random.default_rng(0))
    assert torch.allclose(gray, red[:, :1], atol=0.1)


def test_tones_fill_the_range_whatever_the_print(L: Tensor) -> None:
    faded = 30 + L * 0.3
    assert torch.allclose(normalized_tones(faded), normalized_tones(L), atol=0.5)
    assert normalized_tones(faded).min() == 0
    assert normalized_tones(faded).max() == 100


def test_almost_even_pictures_are_stretched_with_moderation() -> None:
    L = 50 + torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    stretched = normalized_tones(L)
    assert stretched.max() - stretched.min() == pytest.approx(10, abs=0.1)
    assert stretched.mean() == pytest.approx(50, abs=0.1)


def test_blotches_cost_only_where_the_picture_is_even(L: Tensor) -> None:
    even, truth = torch.full_like(L, 50), torch.zeros(12, 2, 64, 64)
    blotches = truth.clone()
    blotches[:, :, 10:20, 10:20] = 15
    assert unevenness(blotches, truth, even) > 10 * unevenness(truth, truth, even)
    assert unevenness(blotches, blotches, even) < 0.2 * unevenness(blotches, truth, even)
