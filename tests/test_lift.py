"""Lifting against the analytic room: pytest tests/test_lift.py"""

import math

import pytest
import torch

from tests.scenes import BoxRoom
from worldgen.errors import UserError
from worldgen.geometry.cameras import look_at, project
from worldgen.geometry.equirect import directions
from worldgen.recipe.lift import LiftSettings, lift
from worldgen.types import Camera, DistanceMap

ROOM = BoxRoom()
CORNERS = [torch.tensor([x, y, z]) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]


def lifted(height=256, **settings):
    panorama, distances = ROOM.panorama(height)
    return lift(panorama.rgb, distances, LiftSettings(**settings))


SOME_CORNERS = [CORNERS[0], CORNERS[-1], *(pytest.param(corner, marks=pytest.mark.slow) for corner in CORNERS[1:-1])]


@pytest.mark.parametrize("corner", SOME_CORNERS)
def test_seen_from_a_corner_of_the_cube_points_lie_on_the_room(corner):
    """Along the ray from the corner to a point nothing of the room lies 1 % or more behind the point."""
    cloud = lifted()
    offset = cloud.xyz - corner
    distance = offset.norm(dim=-1)
    _, true_distance = ROOM.trace(corner, offset / distance[:, None])
    assert (true_distance <= 1.01 * distance).all()  # less: the pillar hides the point from here
    visible = true_distance >= 0.99 * distance
    assert visible.float().mean() > 0.8


@pytest.mark.parametrize("corner", SOME_CORNERS)
def test_seen_from_a_corner_of_the_cube_landmarks_are_within_a_pixel(corner):
    """What the panorama shows in its pixel (x, y) is seen from the corner where the room truly has it (256 px, 90
    degrees)."""
    height = 256
    cloud = lifted(height)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2 * height, (400,), generator=generator) + 0.5
    y = torch.randint(100, 156, (400,), generator=generator) + 0.5
    lon, lat = (x / height - 1) * math.pi, (y / height - 0.5) * math.pi
    rays = torch.stack([lon.sin() * lat.cos(), lat.sin(), lon.cos() * lat.cos()], dim=-1)
    landmarks = rays * ROOM.trace(torch.zeros(3), rays)[1][:, None]
    lifted_there = cloud.xyz[torch.cdist(rays, torch.nn.functional.normalize(cloud.xyz)).argmin(1)]
    errors = []
    for yaw in (0, 90, 180, 270):
        camera = Camera.from_fov(256, 256, 90, look_at(yaw, position=corner))
        truth, zdepth = project(camera, landmarks)
        pixel, _ = project(camera, lifted_there)
        inside = (zdepth > 0) & (truth >= 0).all(-1) & (truth <= 256).all(-1)
        errors.append((truth - pixel)[inside].norm(dim=-1))
    errors = torch.cat(errors)
    assert len(errors) > 200
    assert (errors < 1).float().mean() > 0.9  # the others' own pixels were thinned out: a neighbour stands in


def test_colours_follow_their_points():
    cloud = lifted()
    torch.testing.assert_close(cloud.rgb, ROOM.trace(torch.zeros(3), torch.nn.functional.normalize(cloud.xyz))[0])


def test_normals_are_the_walls_and_face_the_viewer():
    cloud = lifted()
    torch.testing.assert_close(cloud.normals.norm(dim=-1), torch.ones(len(cloud)))
    assert ((cloud.normals * cloud.xyz).sum(-1) <= 0).all()
    assert (cloud.normals.abs().amax(-1) > 0.99).float().mean() > 0.97  # the walls are axis-aligned
    floor = (cloud.xyz[:, 1] > 1.59) & (cloud.xyz[:, [0, 2]].norm(dim=-1) < 2)
    assert (cloud.normals[floor, 1] < -0.99).all()


def test_density_is_even_over_the_sphere():
    """Solid angle per point is the same at the poles as at the horizon."""
    sphere = DistanceMap(torch.ones(128, 256), torch.zeros(128, 256, dtype=torch.bool))
    cloud = lift(torch.rand(3, 128, 256), sphere, LiftSettings())
    height = cloud.xyz[:, 1]
    polar, level = (height.abs() > 0.9).sum(), (height.abs() < 0.1).sum()  # equal areas: Archimedes
    assert abs(int(polar) / int(level) - 1) < 0.05
    pixel = math.pi / 128
    assert len(cloud) == pytest.approx(4 * math.pi / pixel**2, rel=0.03)
    torch.testing.assert_close(cloud.spacing, torch.full((len(cloud),), pixel))


def test_a_bridge_across_a_depth_edge_is_cut_and_a_clean_edge_stays():
    height = 512
    distance = torch.full((height, 2 * height), 2.0)
    distance[:, 100:] = 8.0
    clear = torch.zeros(height, 2 * height, dtype=torch.bool)
    rgb = torch.rand(3, height, 2 * height)
    clean = lift(rgb, DistanceMap(distance, clear), LiftSettings())
    assert ((clean.xyz.norm(dim=-1) - 2).abs().lt(1e-4) | (clean.xyz.norm(dim=-1) - 8).abs().lt(1e-4)).all()
    flat = lift(rgb, DistanceMap(torch.ones(height, 2 * height), clear), LiftSettings())
    assert len(clean) == len(flat)
    distance[:, 98:100] = torch.tensor([3.2, 5.0])
    bridged = lift(rgb, DistanceMap(distance, clear), LiftSettings())
    between = bridged.xyz.norm(dim=-1)
    level = bridged.xyz[:, 1].abs() < 0.5 * between  # near the poles two pixels are no bridge
    assert not (level & (between > 2.5) & (between < 7.9)).any()


def test_far_ground_is_not_torn():
    """A meadow to 40 m is seen at flat angles, but it is one surface."""
    down = directions(512, 1024)[..., 1]
    distance = torch.where(down > 1.6 / 40, 1.6 / down.clamp(min=1e-3), torch.tensor(40.0))
    cloud = lift(torch.rand(3, 512, 1024), DistanceMap(distance, down < 0), LiftSettings())
    everything = lift(torch.rand(3, 512, 1024), DistanceMap(torch.ones(512, 1024), down < 0), LiftSettings())
    assert len(cloud) == len(everything)


def test_sky_stays_on_its_shell_and_faces_the_camera():
    sky = directions(64, 128)[..., 1] < 0
    distance = torch.where(sky, torch.tensor(100.0), torch.tensor(3.0))
    cloud = lift(torch.rand(3, 64, 128), DistanceMap(distance, sky), LiftSettings())
    shell = cloud.xyz.norm(dim=-1) > 50
    assert shell.float().mean() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(cloud.normals[shell], -cloud.xyz[shell] / 100, atol=1e-5, rtol=0)


def test_a_stride_thins_the_cloud_and_keeps_it_on_the_walls():
    cloud, thin = lifted(256), lifted(256, stride=2)
    assert len(thin) == pytest.approx(len(cloud) / 4, rel=0.03)
    nearby = ROOM.surface_gap(thin.xyz)
    assert nearby.max() < 1e-4
    assert thin.spacing.mean() == pytest.approx(2 * float(cloud.spacing.mean()), rel=0.02)


@pytest.mark.parametrize(("key", "value"), [("stride", 0), ("max_slant_deg", 90.0), ("max_slant_deg", 10.0)])
def test_bad_settings_name_their_key(key, value):
    with pytest.raises(UserError, match=f"lift.{key}"):
        LiftSettings(**{key: value})
