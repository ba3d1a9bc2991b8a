"""Pinhole cameras: orientation signs, and pairs of functions that undo each other."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldgen.geometry.cameras import (
    distance_to_zdepth,
    look_at,
    pixel_rays,
    project,
    unproject,
    world_rays,
    zdepth_to_distance,
)
from worldgen.types import Camera

angles = st.floats(-180, 180, width=32)
pitches = st.floats(-90, 90, width=32)
fields = st.floats(5, 150, width=32)


def middle_ray(yaw_deg: float, pitch_deg: float) -> list[float]:
    camera = Camera.from_fov(1, 1, 90.0, look_at(yaw_deg, pitch_deg))
    return world_rays(camera)[0, 0].tolist()


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "ray"),
    [
        (0, 0, [0, 0, 1]),
        (90, 0, [1, 0, 0]),
        (-90, 0, [-1, 0, 0]),
        (180, 0, [0, 0, -1]),
        (0, 90, [0, -1, 0]),
        (0, -90, [0, 1, 0]),
    ],
)
def test_yaw_turns_right_and_pitch_up(yaw_deg, pitch_deg, ray):
    assert middle_ray(yaw_deg, pitch_deg) == pytest.approx(ray, abs=1e-6)


def test_image_axes_point_right_and_down():
    rays = pixel_rays(Camera.from_fov(9, 7, 60.0))
    assert rays[3, 8, 0] > 0
    assert rays[6, 4, 1] > 0
    assert rays[3, 4].tolist() == pytest.approx([0, 0, 1], abs=1e-7)


def test_outer_pixels_lie_half_a_pixel_inside_the_field_of_view():
    rays = pixel_rays(Camera.from_fov(100, 1, 90.0))
    assert rays[0, 0, 0] / rays[0, 0, 2] == pytest.approx(-0.99, abs=1e-6)


@given(angles, pitches)
def test_rotations_are_proper(yaw_deg, pitch_deg):
    rotation = look_at(yaw_deg, pitch_deg)[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
    assert rotation[1, 0] == 0  # the horizon stays level


@given(angles, pitches, fields)
def test_what_is_unprojected_projects_to_its_pixel(yaw_deg, pitch_deg, fov_deg):
    camera = Camera.from_fov(7, 5, fov_deg, look_at(yaw_deg, pitch_deg, torch.tensor([0.3, -0.7, 1.1])))
    distance = torch.linspace(0.5, 20, 35).reshape(5, 7)
    pixels, zdepth = project(camera, unproject(camera, distance))
    columns, rows = torch.meshgrid(torch.arange(7) + 0.5, torch.arange(5) + 0.5, indexing="xy")
    torch.testing.assert_close(pixels, torch.stack([columns, rows], dim=-1), atol=2e-3, rtol=0)
    torch.testing.assert_close(zdepth, distance_to_zdepth(camera, distance), atol=1e-4, rtol=1e-4)


@given(fields)
def test_distance_and_zdepth_undo_each_other(fov_deg):
    camera = Camera.from_fov(6, 4, fov_deg)
    zdepth = torch.rand(4, 6) + 0.1
    torch.testing.assert_close(distance_to_zdepth(camera, zdepth_to_distance(camera, zdepth)), zdepth)
    assert (zdepth_to_distance(camera, zdepth) >= zdepth).all()


def test_rays_are_unit_and_spread_over_the_field_of_view():
    rays = pixel_rays(Camera.from_fov(64, 48, 120.0))
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(48, 64))
    corner = math.degrees(math.acos(rays[24, 0, 2]))
    assert corner == pytest.approx(math.degrees(math.atan(math.tan(math.radians(60)) * 63 / 64)), abs=0.5)


def test_points_behind_the_camera_have_negative_zdepth_and_finite_pixels():
    pixels, zdepth = project(Camera.from_fov(4, 4, 90.0), torch.tensor([[0.0, 0.0, -2.0], [1.0, 1.0, 0.0]]))
    assert zdepth.tolist() == [-2, 0]
    assert torch.isfinite(pixels).all()


@given(angles, pitches, fields, st.integers(1, 40), st.integers(1, 40))
def test_a_resized_camera_sees_the_same(yaw_deg, pitch_deg, fov_deg, width, height):
    camera = Camera.from_fov(7, 5, fov_deg, look_at(yaw_deg, pitch_deg, torch.tensor([0.3, -0.7, 1.1])))
    xyz = unproject(camera, torch.full((5, 7), 2.0))
    pixels, zdepth = project(camera, xyz)
    resized_pixels, resized_zdepth = project(camera.resized(width, height), xyz)
    torch.testing.assert_close(resized_pixels, pixels * torch.tensor([width / 7, height / 5]), atol=5e-3, rtol=1e-4)
    assert torch.equal(resized_zdepth, zdepth)
