"""Views' depths aligned, blended and scaled: pytest tests/test_alignment.py"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes import BoxRoom
from worldgen.geometry import alignment
from worldgen.geometry.cameras import look_at
from worldgen.recipe.depth import align_views, merge_views
from worldgen.types import Camera

ROOM = BoxRoom()


def ring(count=8, tilted=4):
    level = [(360 * k / count, 0) for k in range(count)]
    steep = [(360 * k / tilted, pitch) for pitch in (-55, 55) for k in range(tilted)]
    return [Camera.from_fov(128, 128, 90, look_at(yaw, pitch)) for yaw, pitch in level + steep]


def log_error(merged, truth):
    """Log ratio without the common scale, which no overlap can tell."""
    error = (merged / truth).log()
    return error - error.median()


def test_views_in_agreement_merge_to_the_truth():
    cameras = ring()
    merged = merge_views(cameras, align_views(cameras, [ROOM.view(camera).distance for camera in cameras], 0.05), 128)
    truth = ROOM.panorama(128)[1].distance
    assert log_error(merged, truth).abs().quantile(0.97) < 0.02  # the rest lies along the pillar's edges


def test_every_views_own_scale_and_tilt_is_found():
    generator = torch.Generator().manual_seed(1)
    cameras = ring()
    distances = []
    for camera in cameras:
        scale, across, down = (0.5 * torch.randn(3, generator=generator)).tolist()
        u = ((torch.arange(128) + 0.5) / 64 - 1)[None]
        distances.append(ROOM.view(camera).distance * torch.exp(scale + 0.2 * across * u + 0.2 * down * u.T))
    truth = ROOM.panorama(128)[1].distance
    bent = log_error(merge_views(cameras, align_views(cameras, distances, 1e-4), 128), truth).abs()
    rigid = log_error(merge_views(cameras, align_views(cameras, distances, 1e4), 128), truth).abs()
    assert bent.quantile(0.9) < 0.05
    assert bent.mean() < 0.7 * rigid.mean()  # with a scale alone the tilts remain


def test_outliers_do_not_bend_the_alignment():
    generator = torch.Generator().manual_seed(2)
    views, points = 4, 400
    truth = torch.randn(points, generator=generator)
    scales = torch.tensor([0.4, -0.3, 0.1, -0.2])
    log = truth[None] + scales[:, None] + 0.01 * torch.randn(views, points, generator=generator)
    wrong = torch.rand(views, points, generator=generator) < 0.15
    log = torch.where(wrong, log + 2.0, log)
    found = alignment.align(log, torch.ones_like(log), torch.ones(views, points, 1))
    torch.testing.assert_close(found[:, 0], -(scales - scales.mean()), atol=0.01, rtol=0)


def test_a_view_that_touches_no_other_keeps_its_scale():
    log = torch.tensor([[0.0, 0.0, 5.0], [1.0, 1.0, 5.0], [3.0, 3.0, 7.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = alignment.align(log, weight, torch.ones(3, 3, 1))[:, 0]
    torch.testing.assert_close(found, torch.tensor([0.5, -0.5, 0.0]), atol=2e-3, rtol=0)


def test_merging_leaves_no_seam_where_views_end_or_the_panorama_wraps():
    """Views that disagree by noise: steps across the wrap and along all views' edges are no larger than elsewhere."""
    generator = torch.Generator().manual_seed(3)
    cameras = ring()
    sphere = [torch.exp(0.3 * torch.randn(1, generator=generator)) * torch.ones(128, 128) for _ in cameras]
    waves = [d * torch.exp(0.3 * torch.sin(torch.arange(128) / 20 + k)) for k, d in enumerate(sphere)]
    log = merge_views(cameras, align_views(cameras, waves, 0.05), 128).log()
    steps = (log - log.roll(1, 1)).abs()[32:96]
    assert steps[:, 0].mean() < 2 * steps.mean()
    assert steps.max() < 0.1


def test_feathers_vanish_at_the_edge_with_no_slope():
    edge = torch.linspace(-1.0, 1.0, 201, requires_grad=True)
    weight = alignment.feather(edge, torch.zeros(201))
    weight.sum().backward()
    assert weight[100] == 1
    assert weight[0] == weight[-1] == 0
    assert edge.grad[[0, -1]].abs().max() < 1e-6
    assert alignment.feather(torch.tensor(1.5), torch.tensor(0.0)) == 0


@pytest.mark.parametrize(("scale", "shift"), [(2.5, 0.0), (0.1, 3.0), (40.0, -1.0)])
def test_quantile_scale_is_that_of_an_affine_map(scale, shift):
    shape = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    assert alignment.quantile_scale(shape, scale * shape + shift) == pytest.approx(scale, rel=1e-4)


def test_quantile_scale_is_the_papers_ratio_and_ignores_the_extremes():
    shape, metric = torch.arange(11.0), torch.arange(11.0) * 3
    assert alignment.quantile_scale(shape, metric) == pytest.approx((24 - 6) / (8 - 2))
    metric[[0, -1]] = torch.tensor([-1e3, 1e6])
    assert alignment.quantile_scale(shape, metric) == pytest.approx(3)


def test_quantile_scale_takes_many_pixels():
    many = torch.rand(18_000_000, generator=torch.Generator().manual_seed(0))
    assert alignment.quantile_scale(many, 2 * many) == pytest.approx(2, rel=1e-3)


def test_a_flat_shape_has_no_scale():
    with pytest.raises(ValueError, match="spread"):
        alignment.quantile_scale(torch.ones(10), torch.rand(10))


def blended(log, weight):
    return alignment.blend(zip(log, weight, strict=True))[0]


def test_blend_is_the_weighted_geometric_mean():
    log = torch.tensor([[1.0, 4.0]]).log().T
    assert blended(log, torch.tensor([[1.0], [1.0]])).item() == pytest.approx(2.0)
    assert blended(log, torch.tensor([[0.0], [1.0]])).item() == pytest.approx(4.0)
    assert math.isclose(blended(log, torch.tensor([[1.0], [0.0]])).item(), 1.0, rel_tol=1e-6)


def test_blend_holds_one_estimate_at_a_time_and_changes_none():
    log, weight = torch.randn(5, 40), torch.rand(5, 40)
    kept = log.clone(), weight.clone()
    distance, counted = alignment.blend(zip(log, weight, strict=True))
    torch.testing.assert_close(distance, ((log * weight).sum(0) / weight.sum(0)).exp())
    torch.testing.assert_close(counted, weight.sum(0))
    assert torch.equal(log, kept[0])
    assert torch.equal(weight, kept[1])
    with pytest.raises(ValueError, match="no estimates"):
        alignment.blend([])


@given(st.integers(0, 99), st.floats(-3, 3), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
@settings(max_examples=25)
def test_the_views_own_scales_are_taken_away_and_the_common_one_stays(seed, common, own):
    noise = 0.01 * torch.randn(3, 60, generator=torch.Generator().manual_seed(seed))
    log = torch.linspace(0, 2, 60) + noise
    weight, basis = torch.ones(3, 60), torch.ones(3, 60, 1)
    shifts = torch.tensor(own)
    plain = alignment.align(log, weight, basis)
    moved = alignment.align(log + common + shifts[:, None], weight, basis)
    torch.testing.assert_close(moved[:, 0], plain[:, 0] - (shifts - shifts.mean()), atol=5e-3, rtol=0)
    assert moved.mean().abs() < 1e-6


@given(st.permutations(range(4)), st.integers(0, 99))
@settings(max_examples=25)
def test_the_order_of_views_does_not_matter(order, seed):
    generator = torch.Generator().manual_seed(seed)
    log, weight = torch.randn(4, 50, generator=generator), torch.rand(4, 50, generator=generator)
    basis = torch.stack([torch.ones(4, 50), torch.rand(4, 50, generator=generator)], dim=-1)
    found = alignment.align(log, weight, basis)
    torch.testing.assert_close(
        alignment.align(log[order], weight[order], basis[order]), found[order], atol=1e-4, rtol=1e-4
    )
    mean = blended(log, weight)
    torch.testing.assert_close(blended(log[order], weight[order]), mean)
    assert bool((mean <= log.amax(0).exp() * (1 + 1e-5)).all() and (mean >= log.amin(0).exp() * (1 - 1e-5)).all())
