"""How pictures go over into each other: feather weights, and reflections beside a border."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgen.geometry.blending import edge_feather, reflect_outwards, smoothstep
from worldgen.geometry.fill import dilate


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


@given(st.integers(0, 99), st.integers(1, 12), st.integers(12, 20), st.floats(1, 8))
@settings(max_examples=25)
def test_a_reflection_leaves_the_inside_and_what_is_far_and_brings_no_new_colours(seed, first, last, width_px):
    rgb = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(seed))
    inside = torch.zeros(24, 32, dtype=torch.bool)
    inside[first:last, 8:20] = True
    out = reflect_outwards(rgb, inside, width_px)
    far = ~dilate(inside, round(width_px) + 1)
    assert torch.equal(out[:, inside | far], rgb[:, inside | far])
    assert out.min() >= rgb.min() - 1e-6
    assert out.max() <= rgb.max() + 1e-6


def test_beside_the_border_a_reflection_shows_the_border():
    rgb = torch.zeros(3, 16, 24)
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[4:12, 6:18] = True
    rgb[:, inside] = 1.0
    column = reflect_outwards(rgb, inside, 4.0)[0, 8]
    assert column[18] > 0.8
    assert bool((column[18:].diff() <= 0).all())
