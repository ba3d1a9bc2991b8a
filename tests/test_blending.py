"""Feather weights, masks and smooth filling."""

import pytest
import torch

from worldgen.geometry.blending import edge_feather, smoothstep
from worldgen.geometry.fill import blur, dilate, erode, push_pull


def test_feather_is_one_inside_falls_to_the_border_and_is_symmetric():
    weight = edge_feather(40, 60, 10)
    assert weight[20, 30] == 1
    assert weight[0].max() < 0.02
    assert torch.equal(weight, weight.flip(0))
    assert torch.equal(weight, weight.flip(1))
    middle = weight[20, :12]
    assert bool((middle[1:] >= middle[:-1]).all())


def test_no_feather_means_one_everywhere():
    assert torch.equal(edge_feather(5, 7, 0), torch.ones(5, 7))


def test_smoothstep_halves_add_up():
    x = torch.linspace(-0.5, 1.5, 21)
    torch.testing.assert_close(smoothstep(x) + smoothstep(1 - x), torch.ones(21))


def test_dilate_and_erode_are_each_others_mirror_and_ignore_the_border():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[4, 4] = True
    assert dilate(mask, 2).sum() == 25
    assert torch.equal(erode(dilate(mask, 2), 2), mask)
    assert bool(erode(torch.ones(5, 5, dtype=torch.bool), 2).all())


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 48)])
def test_push_pull_keeps_what_is_known_and_stays_between_its_values(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, *size, generator=generator)
    known = torch.rand(size, generator=generator) < 0.2
    known[0, 0] = True
    filled = push_pull(image, known)
    assert torch.equal(filled[:, known], image[:, known])
    assert filled.min() >= image[:, known].min() - 1e-5
    assert filled.max() <= image[:, known].max() + 1e-5


def test_push_pull_of_a_constant_is_that_constant():
    known = torch.zeros(33, 70, dtype=torch.bool)
    known[3, 60] = known[20, 5] = True
    filled = push_pull(torch.full((3, 33, 70), 0.3) * known, known)
    torch.testing.assert_close(filled, torch.full((3, 33, 70), 0.3))


def test_push_pull_of_nothing_is_nothing():
    assert torch.equal(push_pull(torch.ones(3, 4, 4), torch.zeros(4, 4)), torch.zeros(3, 4, 4))


def test_blur_keeps_the_mean_of_what_lies_inside_and_constants():
    image = torch.zeros(1, 41, 41)
    image[0, 20, 20] = 1
    blurred = blur(image, 3.0)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert blurred[0, 20, 20] == pytest.approx(1 / (2 * torch.pi * 9), rel=0.02)
    torch.testing.assert_close(blur(torch.full((2, 6, 9), 0.4), 2.0), torch.full((2, 6, 9), 0.4))
