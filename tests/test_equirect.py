"""Equirectangular images: signs, wrap, poles, round trips, and agreement with py360convert and with torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from py360convert import e2p

from worldgen.geometry.cameras import look_at, world_rays
from worldgen.geometry.equirect import (
    directions,
    from_perspective,
    lonlat,
    mask_to_perspective,
    pad,
    sample,
    sample_by_torch,
    spread_by_torch,
    to_perspective,
)
from worldgen.types import Camera

HEIGHT, WIDTH = 128, 256
LEVEL = 1 / 255
looks = st.tuples(st.floats(-180, 180, width=32), st.floats(-90, 90, width=32))


def smooth(rays: torch.Tensor) -> torch.Tensor:
    """Colours in [0, 1] of directions [..., 3], smooth over the whole sphere, without symmetry; [3, ...]."""
    x, y, z = rays.unbind(-1)
    return torch.stack([0.5 + 0.4 * x, 0.5 + 0.3 * y + 0.1 * x * z, 0.5 + 0.2 * z + 0.2 * torch.sin(2 * y + x)])


def panorama(height: int = HEIGHT) -> torch.Tensor:
    return smooth(directions(height, 2 * height))


@pytest.mark.parametrize(
    ("direction", "lon_deg", "lat_deg"),
    [([0, 0, 1], 0, 0), ([1, 0, 0], 90, 0), ([-1, 0, 0], -90, 0), ([0, -1, 0], None, -90), ([0, 2, 0], None, 90)],
)
def test_longitude_grows_to_the_right_and_latitude_downwards(direction, lon_deg, lat_deg):
    lon, lat = lonlat(torch.tensor(direction).float())
    assert math.degrees(lat) == pytest.approx(lat_deg, abs=1e-4)
    if lon_deg is not None:
        assert math.degrees(lon) == pytest.approx(lon_deg, abs=1e-4)


def test_grid_directions_invert_to_pixel_centres():
    grid = directions(32, 64)
    lon, lat = lonlat(grid)
    columns, rows = (lon / math.pi + 1) * 32, (lat / math.pi + 0.5) * 32
    torch.testing.assert_close(columns, (torch.arange(64) + 0.5).expand(32, 64), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows, (torch.arange(32) + 0.5)[:, None].expand(32, 64), atol=1e-4, rtol=0)
    torch.testing.assert_close(grid.norm(dim=-1), torch.ones(32, 64))


def test_padding_goes_round_the_back_and_over_the_poles():
    picture = torch.arange(4 * 8).reshape(1, 4, 8)
    padded = pad(picture, 2)
    assert torch.equal(padded[:, 2:-2, :2], picture[:, :, -2:])
    assert torch.equal(padded[:, 2:-2, -2:], picture[:, :, :2])
    assert torch.equal(padded[0, 1, 2:-2], picture[0, 0].roll(4))
    assert torch.equal(padded[0, -2, 2:-2], picture[0, -1].roll(4))
    assert torch.equal(padded[0, 0, 2:-2], picture[0, 1].roll(4))


@given(looks, st.sampled_from(["bilinear", "bicubic"]))
@settings(deadline=None, max_examples=25)
def test_a_view_shows_the_colour_of_its_rays_also_across_the_back_and_the_poles(direction, mode):
    camera = Camera.from_fov(24, 16, 100.0, look_at(*direction))
    seen = to_perspective(panorama(), camera, mode)
    torch.testing.assert_close(seen, smooth(world_rays(camera)), atol=LEVEL, rtol=0)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("direction", [(180.0, 0.0), (30.0, 88.0), (-100.0, -75.0), (12.0, 5.0)])
def test_kernels_agree_with_torch(mode, direction):
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(2, 64, 128, generator=generator)
    camera = Camera.from_fov(40, 30, 95.0, look_at(*direction))
    rays = world_rays(camera)
    agree = (sample(noise, rays, mode) - sample_by_torch(noise, rays, mode)).abs() < 1e-4
    assert agree.float().mean() > (0.99 if mode == "nearest" else 0.9999)  # a tie may fall on either side
    view = torch.rand(2, 20, 18, generator=generator)
    camera = Camera.from_fov(18, 20, 70.0, look_at(*direction))
    spread, inside = from_perspective(view, camera, 64, 128, mode)
    twin, twin_inside = spread_by_torch(view, camera, 64, 128, mode)
    assert (inside == twin_inside).float().mean() > 0.999  # a ray along the very edge may fall on either side
    assert ((spread - twin).abs() < 1e-4).float().mean() > 0.99


def test_nearest_reads_the_pixel_itself():
    picture = torch.rand(3, 16, 32)
    assert torch.equal(sample(picture, directions(16, 32), "nearest"), picture)


@given(looks, st.floats(30, 110))
@settings(deadline=None, max_examples=25)
def test_a_view_laid_on_the_panorama_comes_back(direction, fov_deg):
    camera = Camera.from_fov(32, 32, fov_deg, look_at(*direction))
    spread, inside = from_perspective(smooth(world_rays(camera)), camera, HEIGHT, WIDTH)
    # At the very border half of what is read lies outside.
    whole = mask_to_perspective(inside, camera)
    assert whole[2:-2, 2:-2].all()
    error = (to_perspective(spread, camera) - smooth(world_rays(camera))).abs()
    assert error[:, whole].max() < 2 * LEVEL


def test_a_view_lands_on_the_pixels_whose_direction_it_sees():
    camera = Camera.from_fov(60, 40, 70.0, look_at(175.0, 30.0))
    spread, inside = from_perspective(smooth(world_rays(camera)), camera, HEIGHT, WIDTH)
    torch.testing.assert_close(spread[:, inside], panorama()[:, inside], atol=LEVEL, rtol=0)
    assert (spread[:, ~inside] == 0).all()
    local = directions(HEIGHT, WIDTH) @ camera.c2w[:3, :3]
    slope = math.tan(math.radians(35))
    sees = (local[..., 2] > 0) & (local[..., 0].abs() < slope * local[..., 2])
    sees &= local[..., 1].abs() < slope * 2 / 3 * local[..., 2]
    assert (sees ^ inside).sum() <= 4


def test_six_cube_faces_cover_every_pixel():
    faces = [(0, 0), (90, 0), (180, 0), (-90, 0), (0, 90), (0, -90)]
    covered = torch.zeros(HEIGHT, WIDTH, dtype=torch.int)
    for direction in faces:
        camera = Camera.from_fov(16, 16, 90.0, look_at(*direction))
        covered += from_perspective(torch.ones(1, 16, 16), camera, HEIGHT, WIDTH)[1]
    assert covered.min() >= 1
    assert (covered > 1).float().mean() < 0.02


def test_a_finer_view_is_reduced_without_aliasing():
    stripes = (torch.arange(2048) % 2).float().expand(3, 512, 2048)
    spread, inside = from_perspective(stripes, Camera.from_fov(2048, 512, 60.0), HEIGHT, WIDTH)
    assert (spread[:, inside] - 0.5).abs().max() < 0.05


def test_reduction_keeps_values_beyond_one():
    distance = torch.full((1, 512, 512), 7.5)
    spread, inside = from_perspective(distance, Camera.from_fov(512, 512, 60.0), HEIGHT, WIDTH)
    torch.testing.assert_close(spread[0, inside], torch.full_like(spread[0, inside], 7.5))


def test_masks_are_true_only_where_everything_is_known():
    known = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    camera = Camera.from_fov(64, 64, 90.0, look_at(180.0))
    assert mask_to_perspective(known, camera).all()
    known[:, :8] = False  # a strip right of the back
    seen = mask_to_perspective(known, camera)
    assert seen[:, :31].all()
    assert not seen[28:36, 33:37].any()


def test_inputs_are_left_alone():
    picture, view = panorama(), torch.rand(3, 16, 16)
    before, view_before = picture.clone(), view.clone()
    camera = Camera.from_fov(16, 16, 90.0, look_at(20.0))
    to_perspective(picture, camera)
    from_perspective(view, camera, HEIGHT, WIDTH)
    assert torch.equal(picture, before)
    assert torch.equal(view, view_before)


@pytest.mark.parametrize("direction", [(0.0, 0.0), (123.0, 35.0), (-90.0, -60.0), (179.0, 10.0)])
@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_views_agree_with_py360convert(direction, size):
    (width, height), fov_deg = size, 85.0
    camera = Camera.from_fov(width, height, fov_deg, look_at(*direction))
    seen = to_perspective(panorama(512), camera)
    theirs = e2p(panorama(512).permute(1, 2, 0).numpy(), corner_fov_deg(camera), *direction, (height, width))
    np.testing.assert_allclose(seen.permute(1, 2, 0).numpy(), theirs, atol=LEVEL)


@pytest.mark.parametrize("direction", [(0.0, 0.0), (123.0, 35.0), (-90.0, -60.0), (179.0, 10.0)])
def test_py360convert_reads_back_what_was_laid_on_the_panorama(direction):
    camera = Camera.from_fov(128, 128, 85.0, look_at(*direction))
    view = smooth(world_rays(camera))
    spread, _ = from_perspective(view, camera, 512, 1024)
    theirs = e2p(spread.permute(1, 2, 0).numpy(), corner_fov_deg(camera), *direction, (128, 128))
    inner = slice(2, -2)
    np.testing.assert_allclose(view.permute(1, 2, 0).numpy()[inner, inner], theirs[inner, inner], atol=LEVEL)


def corner_fov_deg(camera: Camera) -> tuple[float, float]:
    """py360convert's outer samples lie on the border of its field of view; ours are half a pixel inside."""
    return tuple(
        2 * math.degrees(math.atan((count - 1) / 2 / focal))
        for count, focal in ((camera.width, camera.fx), (camera.height, camera.fy))
    )


@given(looks, st.integers(0, 63), st.sampled_from(["bilinear", "bicubic"]))
@settings(max_examples=25)
def test_a_panorama_and_a_camera_that_turn_together_show_the_same(direction, columns, mode):
    noise = torch.rand(2, 32, 64, generator=torch.Generator().manual_seed(columns))
    seen = to_perspective(noise, Camera.from_fov(24, 16, 100.0, look_at(*direction)), mode)
    turned = Camera.from_fov(24, 16, 100.0, look_at(direction[0] + columns * 360 / 64, direction[1]))
    torch.testing.assert_close(to_perspective(noise.roll(columns, 2), turned, mode), seen, atol=2e-3, rtol=0)
