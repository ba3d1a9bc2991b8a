"""Masks that grow and shrink, and holes that are filled smoothly."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgen.geometry.fill import blur, dilate, enlarge, erode, push_pull


def test_masks_grow_as_squares_and_the_border_does_not_shrink_them():
    mask = torch.zeros(9, 9, dtype=torch.bool)
    mask[4, 4] = True
    assert dilate(mask, 2).sum() == 25
    assert bool(erode(torch.ones(5, 5, dtype=torch.bool), 2).all())


@pytest.mark.parametrize("radius", [0, 1, 3, 30])
def test_a_mask_grows_as_a_maximum_over_squares(radius):
    mask = blobs(radius)
    wanted = F.max_pool2d(mask[None].float(), 2 * radius + 1, stride=1, padding=radius)[0] > 0
    before = mask.clone()
    assert torch.equal(dilate(mask, radius), wanted)
    assert torch.equal(mask, before)


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


def test_blur_weighs_by_the_normal_density_and_goes_on_beyond_the_border():
    row = torch.rand(1, 1, 40, generator=torch.Generator().manual_seed(3))
    weights = torch.distributions.Normal(0.0, 2.5).log_prob(torch.arange(-8.0, 9.0)).exp()
    wide = torch.cat([row[..., :1].expand(1, 1, 8), row, row[..., -1:].expand(1, 1, 8)], -1)
    expected = (wide[0, 0].unfold(0, 17, 1) * weights / weights.sum()).sum(-1)
    torch.testing.assert_close(blur(row.expand(2, 5, 40), 2.5)[1, 2], expected)


seeds, radii = st.integers(0, 99), st.integers(0, 4)


def blobs(seed: int) -> torch.Tensor:
    return torch.rand(19, 23, generator=torch.Generator().manual_seed(seed)) < 0.1


@given(seeds, radii, radii)
@settings(max_examples=25)
def test_masks_grow_step_by_step_and_shrink_within_what_they_were(seed, one, more):
    mask = blobs(seed)
    assert torch.equal(dilate(dilate(mask, one), more), dilate(mask, one + more))
    assert torch.equal(erode(erode(mask, one), more), erode(mask, one + more))
    closed = erode(dilate(mask, one), one)
    assert bool((closed | ~mask).all())
    assert torch.equal(erode(dilate(closed, one), one), closed)


@given(seeds, st.floats(0.1, 3), st.floats(-1, 1))
@settings(max_examples=25)
def test_filling_follows_gain_and_offset(seed, gain, offset):
    image, known = torch.rand(2, 19, 23, generator=torch.Generator().manual_seed(seed)), blobs(seed)
    known[3, 4] = True
    wanted = gain * push_pull(image * known, known) + offset
    torch.testing.assert_close(push_pull((gain * image + offset) * known, known), wanted, atol=1e-5, rtol=0)


@given(seeds, st.integers(0, 31))
@settings(max_examples=25)
def test_enlarging_a_panorama_turns_with_it(seed, columns):
    coarse = torch.rand(2, 16, 32, generator=torch.Generator().manual_seed(seed))
    turned = enlarge(coarse.roll(columns, 2), 64, 128)
    torch.testing.assert_close(turned, enlarge(coarse, 64, 128).roll(4 * columns, 2), atol=1e-5, rtol=0)
