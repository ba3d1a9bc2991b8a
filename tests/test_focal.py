"""A camera's focal length from the points that it sees: pytest tests/test_focal.py"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgen.errors import UserError
from worldgen.geometry.focal import focal_px, fov_deg
from worldgen.types import Camera

WIDE = st.floats(20, 130)


def seen(width, height, deg, zdepth):
    """What a camera sees of a surface: zdepth [H, W] -> points [H, W, 3]."""
    camera = Camera.from_fov(width, height, deg)
    x = (torch.arange(width) + 0.5 - camera.cx) / camera.fx
    y = (torch.arange(height) + 0.5 - camera.cy) / camera.fy
    x, y = torch.meshgrid(x, y, indexing="xy")
    return torch.stack([x * zdepth, y * zdepth, zdepth], dim=-1)


def hills(width, height, generator):
    """A rough surface, 1 to 9 units away."""
    coarse = torch.rand(1, 1, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0, 0]
    return 1 + 8 * smooth.clamp(0, 1)


@given(WIDE, st.integers(0, 99), st.sampled_from([(96, 64), (64, 96), (80, 80)]), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_exact_points_give_the_exact_angle_in_any_unit(deg, seed, size, unit):
    zdepth = hills(*size, torch.Generator().manual_seed(seed))
    points = unit * seen(*size, deg, zdepth)
    assert fov_deg(points) == pytest.approx(deg, abs=1e-3)
    assert focal_px(points) == pytest.approx(Camera.from_fov(*size, deg).fx, rel=1e-4)


@pytest.mark.parametrize(
    "kind", ["far", "flat", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("scattered", "near", "moved"))]
)
@given(WIDE, st.integers(0, 9999))
@settings(max_examples=30, deadline=None)
def test_noise_and_a_fifth_of_outliers_move_it_by_half_a_degree_at_most(kind, deg, seed):
    generator = torch.Generator().manual_seed(seed)
    points = seen(96, 72, deg, hills(96, 72, generator))
    noise = torch.tensor([0.02 * math.tan(math.radians(deg) / 2)] * 2 + [0.02])  # of the picture's half, of the depth
    points = points + noise * points[..., 2:] * torch.randn(72, 96, 3, generator=generator)
    wrong = torch.rand(72, 96, generator=generator) < 0.2
    z = points[..., 2:]
    lies = {
        "scattered": 5 * torch.randn(72, 96, 3, generator=generator),
        "near": torch.cat([points[..., :2], 0.3 * z], dim=-1),
        "far": torch.cat([points[..., :2], 3 * z], dim=-1),
        "moved": points + torch.tensor([1.0, 0.5, 0.0]) * z,
        "flat": torch.cat([points[..., :2], torch.full_like(z, 5.0)], dim=-1),
    }
    assert abs(fov_deg(torch.where(wrong[..., None], lies[kind], points)) - deg) <= 0.5


def test_what_is_unknown_or_behind_or_without_weight_does_not_count():
    points = seen(64, 48, 70, hills(64, 48, torch.Generator().manual_seed(0)))
    spoilt = points.clone()
    spoilt[:8] = torch.inf
    spoilt[8:12] = torch.nan
    spoilt[12:16] *= -1
    spoilt[16:40, :, 0] *= 2
    weight = torch.ones(48, 64)
    weight[16:40] = 0
    assert fov_deg(spoilt, weight) == pytest.approx(70, abs=1e-3)
    assert fov_deg(spoilt, weight > 0) == pytest.approx(70, abs=1e-3)


def test_confidence_decides_between_two_cameras():
    zdepth = hills(64, 48, torch.Generator().manual_seed(0))
    left = (torch.arange(64) < 32)[None, :, None]
    points = torch.where(left, seen(64, 48, 50, zdepth), seen(64, 48, 90, zdepth))
    sure = torch.where(left[..., 0], 9.0, 1.0).expand(48, 64)
    assert fov_deg(points, sure) == pytest.approx(50, abs=0.1)
    assert fov_deg(points, 10 - sure) == pytest.approx(90, abs=0.1)


def test_a_large_map_takes_no_longer_than_a_small_one_and_says_the_same():
    assert fov_deg(seen(1531, 1023, 64.2, torch.full((1023, 1531), 3.0))) == pytest.approx(64.2, abs=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0])
def test_a_map_without_points_is_refused_in_one_line(value):
    with pytest.raises(UserError, match=r"^fov: 0 of \d+ points lie as a camera sees them, wanted more$"):
        focal_px(torch.full((8, 8, 3), value))


def test_points_that_no_camera_sees_so_are_refused():
    points = -seen(32, 32, 70, torch.ones(32, 32)) * torch.tensor([1.0, 1.0, -1.0])  # mirrored
    with pytest.raises(UserError, match=r"0 of 1024 points"):
        focal_px(points)
