"""Scores of held-out views: over what they are empty on, and of what is known of them."""

import pytest
import torch

from tests.small_training import Psnr
from train.splat.held_out import renders, scores
from worldgen.types import Camera, Gaussians, View


def nothing_to_see() -> Gaussians:
    """One Gaussian, behind every camera here."""
    return Gaussians(
        torch.tensor([[0.0, 0, -5]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.zeros(1, 3),
        torch.zeros(1),
        torch.zeros(1, 1, 3),
    )


def test_psnr_is_that_of_the_known_pixels():
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(32, 40, generator=generator) < 0.6
    rgb = torch.rand(3, 32, 40, generator=generator)
    view = View(Camera.from_fov(40, 32, 60.0), rgb, known)
    (picture,) = renders(nothing_to_see(), [view])
    assert torch.equal(picture[:, ~known], rgb[:, ~known])
    assert (picture[:, known] == 0).all()
    expected = -10 * torch.log10(rgb[:, known].square().mean()).item()
    assert scores([picture], [view], [Psnr()])["psnr"] == pytest.approx(expected, abs=1e-4)
    assert scores([], [], [Psnr()]) == {}


def test_a_view_over_white_is_compared_over_white():
    camera = Camera.from_fov(40, 32, 60.0)
    view = View(camera, torch.ones(3, 32, 40), torch.ones(32, 40, dtype=torch.bool), background=torch.ones(3))
    assert torch.equal(renders(nothing_to_see(), [view])[0], view.rgb)
