"""Merging by differences, on a sphere: pytest tests/test_gradient_domain.py"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import BoxRoom
from worldgen.geometry.equirect import directions
from worldgen.geometry.gradient_domain import Differences
from worldgen.recipe.depth import MergeSettings, align_views, merge_views

ROOM = BoxRoom()


def smooth(height, seed):
    """Waves on the sphere, [H, 2H]: no edge and no pole is a place like no other."""
    generator = torch.Generator().manual_seed(seed)
    waves = 4 * torch.randn(3, 5, generator=generator)
    return torch.sin(directions(height, 2 * height) @ waves + torch.rand(5, generator=generator)).sum(-1)


@given(st.integers(0, 99), st.floats(4, 200))
@settings(max_examples=20, deadline=None)
def test_one_estimate_comes_back_as_it_was(seed, detail_px):
    values = smooth(32, seed)
    differences = Differences(32, 64)
    differences.add(values, torch.rand(32, 64) + 0.1)
    torch.testing.assert_close(differences.settle(values, detail_px), values, atol=1e-4, rtol=0)


def test_the_shape_comes_from_the_differences_and_the_level_from_the_values():
    values = smooth(32, 0)
    differences = Differences(32, 64)
    differences.add(values + 5, torch.ones(32, 64))
    found = differences.settle(torch.full_like(values, 2.0), 1e4)
    torch.testing.assert_close(found - found.mean(), values - values.mean(), atol=2e-2, rtol=0)
    assert found.mean() == pytest.approx(2, abs=1e-3)


def test_without_differences_and_with_the_shortest_waves_the_values_stay():
    values = smooth(32, 1)
    torch.testing.assert_close(Differences(32, 64).settle(values, 30.0), values, atol=1e-4, rtol=0)
    differences = Differences(32, 64)
    differences.add(torch.zeros(32, 64), torch.ones(32, 64))
    assert (differences.settle(values, 0.1) - values).abs().max() < 0.01


@given(st.integers(0, 63), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_turn_and_the_poles_change_nothing(turn, upside_down):
    one, other, weight = smooth(32, 2), smooth(32, 3), torch.rand(32, 64, generator=torch.Generator().manual_seed(0))

    def moved(values):
        return (values.flip(0) if upside_down else values).roll(turn, 1)

    def settled(change):
        differences = Differences(32, 64)
        differences.add(change(one), change(weight))
        differences.add(change(other), change(1 - weight))
        return differences.settle(change((one + other) / 2), 20.0)

    torch.testing.assert_close(settled(moved), moved(settled(lambda values: values)), atol=1e-4, rtol=0)


def test_a_half_that_is_off_leaves_no_slope_where_the_halves_meet():
    """Two estimates that differ by a constant, their weights crossing: a mean of values would slope there."""
    truth = smooth(32, 4)
    share = (torch.arange(64) - 32).clamp(-8, 8) / 16 + 0.5
    weight = share.expand(32, 64)
    differences = Differences(32, 64)
    differences.add(truth, weight)
    differences.add(truth + 1, 1 - weight)
    blended = truth + 1 - weight
    settled = differences.settle(blended, 128.0)

    def slope(values):
        return ((values - truth).diff(dim=1)[:, 24:40]).abs().mean()

    assert slope(settled) < 0.5 * slope(blended)


def merged(gradient_deg, spread, holes=False):
    cameras = MergeSettings(view_size=96).cameras()
    generator = torch.Generator().manual_seed(5)
    distances, valid = [], []
    for camera in cameras:
        wave = torch.sin(torch.rand(1, generator=generator) * 6 + torch.linspace(0, 4, 96))  # beyond scale and tilt
        distances.append(ROOM.view(camera).measured * torch.exp(spread * wave))
        seen = torch.ones(96, 96, dtype=torch.bool)
        if holes:
            seen[:, :] = ROOM.view(camera).measured < 3
        valid.append(seen)
    return merge_views(cameras, align_views(cameras, distances, 0.05, valid), 128, valid, gradient_deg)


TRUTH = ROOM.panorama(128)[1].distance


def roughness(distance):
    """How much steps between neighbours are off, where the truth is smooth."""
    error = (distance / TRUTH).log().diff(dim=1)[20:-20]
    return error.abs().quantile(0.9)


def test_true_views_merge_to_the_truth():
    error = (merged(30.0, 0.0) / TRUTH).log()
    assert (error - error.median()).abs().quantile(0.95) < 0.02


def test_views_that_disagree_bend_the_surfaces_less():
    assert roughness(merged(30.0, 0.3)) < 0.97 * roughness(merged(0.0, 0.3))


def test_what_no_view_has_stays_unknown_and_the_rest_finite():
    plain, gradient = merged(0.0, 0.1, holes=True), merged(30.0, 0.1, holes=True)
    assert torch.equal(plain.isinf(), gradient.isinf())
    assert plain.isinf().any()
    assert (gradient / plain).log()[plain.isfinite()].abs().quantile(0.99) < 0.3
    assert math.isfinite(float(gradient[plain.isfinite()].max()))
