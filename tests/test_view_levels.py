"""Coarse to fine: halved views show the same, and come in their order."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.scenes import BoxRoom
from train.splat.view_levels import halved
from train.splat.view_order import coarse_level
from worldgen.geometry.cameras import look_at
from worldgen.types import Camera, SupervisionView


def view_of(camera: Camera) -> SupervisionView:
    return SupervisionView(camera, BoxRoom().view(camera).rgb, torch.ones(camera.height, camera.width), False)


def test_a_halved_view_is_what_a_camera_of_half_the_size_sees():
    camera = Camera(look_at(20.0, 10.0, torch.tensor([0.2, 0.0, 0.1])), 260, 195, 240.0, 236.0, 120.0, 102.0)
    half = halved(view_of(camera))
    assert (half.camera.width, half.camera.height) == (130, 97)
    assert half.rgb.shape == (3, 97, 130)
    fine = BoxRoom().view(half.camera.resized(4 * 130, 4 * 97)).rgb
    assert (half.rgb - F.avg_pool2d(fine, 4)).abs().mean() < 0.022  # a quarter of a pixel to the side: 0.03


def test_nothing_comes_in_from_what_does_not_count():
    view = view_of(Camera.from_fov(256, 192, 70.0))
    weight = view.weight.clone()
    weight[:, :33] = 0
    rgb = view.rgb.clone()
    rgb[:, :, :33] = 1e3
    half = halved(SupervisionView(view.camera, rgb, weight, False, torch.ones_like(weight)))
    assert half.weight[:, :16].abs().max() == 0
    assert torch.allclose(half.weight[:, 16], torch.full((96,), 0.5))
    assert half.rgb.max() <= 1
    whole = halved(view)
    assert (half.rgb[:, :, 17:] - whole.rgb[:, :, 17:]).abs().max() < 1e-5
    assert torch.allclose(half.alpha[:, 17:], torch.ones(96, 111))


def test_small_views_stay_as_they_are():
    view = view_of(Camera.from_fov(200, 120, 70.0))
    assert halved(view) is view


@given(st.integers(1, 3000), st.integers(0, 4), st.floats(0.05, 1.0))
def test_levels_fall_to_nothing_in_equal_parts(steps, levels, until):
    found = [coarse_level(step, steps, levels, until) for step in range(steps)]
    assert found == sorted(found, reverse=True)
    assert all(0 <= level <= levels for level in found)
    assert found[0] == levels
    beyond = [level for step, level in enumerate(found) if step >= until * steps]
    assert not any(beyond)
    for level in range(1, levels + 1):
        assert abs(found.count(level) - until * steps / levels) <= 1
