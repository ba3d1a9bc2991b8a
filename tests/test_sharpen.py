"""Unsharp masking of a panorama: what it gives back, and what it leaves alone."""

import math

import pytest
import torch

from worldgen.embedded.sharpen import Sharpen, sharpen
from worldgen.errors import UserError
from worldgen.geometry.fill import blur

EVERYWHERE = torch.ones(64, 128, dtype=torch.bool)


def textured(seed=0) -> torch.Tensor:
    return blur(torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(seed)), 0.7).clamp(0, 1)


def test_fine_waves_grow_as_the_gaussian_says_and_coarse_ones_hardly():
    columns = torch.arange(128)
    for waves, most in ((32, None), (2, 0.01)):
        angle = 2 * math.pi * waves / 128
        wave = (0.5 + 0.2 * torch.sin(angle * columns + 0.3)).expand(3, 64, 128)
        gain = (sharpen(wave, EVERYWHERE, 0.8) - 0.5).std() / 0.2 * math.sqrt(2)
        assert gain == pytest.approx(1 + 0.8 * (1 - math.exp(-((0.6 * angle) ** 2) / 2)), abs=0.02)
        assert most is None or gain - 1 < most


def test_what_is_not_asked_for_and_what_is_even_stays():
    left = EVERYWHERE.clone()
    left[:, 64:] = False
    rgb = textured()
    assert torch.equal(sharpen(rgb, left, 1.0)[:, :, 64:], rgb[:, :, 64:])
    assert not torch.equal(sharpen(rgb, left, 1.0)[:, :, :64], rgb[:, :, :64])
    assert torch.equal(sharpen(rgb, EVERYWHERE, 0.0), rgb)
    even = torch.full((3, 64, 128), 0.4)
    torch.testing.assert_close(sharpen(even, EVERYWHERE, 2.0), even)


def test_it_goes_round_the_back():
    rgb = textured()
    turned = sharpen(rgb.roll(40, 2), EVERYWHERE, 1.0).roll(-40, 2)
    torch.testing.assert_close(turned, sharpen(rgb, EVERYWHERE, 1.0))


def test_wrong_settings_name_the_key():
    with pytest.raises(UserError, match=r"panorama\.finish\.amount: -1, wanted"):
        Sharpen(amount=-1)
